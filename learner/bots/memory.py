"""MemoryBot, the embedded default: it answers by retrieval over learned exchanges and learns online.

It starts as Wren, a friendly bot with a few hundred exchanges (``memory_factory.json``). Learning adds the samples as
rows of a new segment and trains the ranker; removing sets tombstones. A version is a manifest over shared segments.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from filters.types import Encoder
from learner.bots.memory_answerer import MemoryAnswerer, window
from learner.bots.memory_ranker import START, Float, dump, parse
from learner.bots.memory_rows import (
    Half,
    Row,
    RowTable,
    decode_rows,
    encode_rows,
    pack_tombstones,
    verify_segment,
    write_segment,
)
from learner.errors import CapacityError, CorruptError
from learner.folder import file_sha256, sha256, write_file
from learner.manifest import RANKER, TOMBSTONES, folder_of, verify_own_files, write_version
from learner.types import FACTORY, Answerer, Sample, Update, Version

_REMEMBERED = 512
"""Embeddings of texts asked of late that a process keeps, 1.5 kB each."""
_CANARY = "Wren sang one clear note, and the 42 sleepy owls of the library looked up."


def factory_rows() -> list[Row]:
    """Return the shipped exchanges as rows: one per way of saying the prompt, and the fallback replies."""
    raw = json.loads((resources.files("learner.bots") / "memory_factory.json").read_text("utf-8"))
    pairs = [(say, entry["reply"], FACTORY) for entry in raw["exchanges"] for say in entry["say"]]
    pairs += [("", reply, "fallback") for reply in raw["fallbacks"]]
    return [Row(f"factory:{n}", "", say, reply, role) for n, (say, reply, role) in enumerate(pairs)]


class MemoryBot:
    """A bot that remembers exchanges. ``max_rows`` is the most rows a version may hold, the factory's included."""

    name = "memory"

    def __init__(self, encoder: Encoder, *, max_rows: int = 100_000) -> None:
        self._encoder = encoder
        self._max_rows = max_rows
        self._factory_rows = factory_rows()
        self._embed = lru_cache(maxsize=_REMEMBERED)(self._embed_now)

    def factory(self, folder: Path) -> Version:
        """Write the version before any learning under ``folder`` and return it."""
        rows = self._factory_rows
        segment = write_segment(folder, rows, self._embedded([row.prompt for row in rows]))
        blank = self._blank("", FACTORY, (segment,), len(rows))
        return write_version(folder, blank, dump(np.asarray(START, np.float32)), b"")

    def prepare(self, samples: Sequence[Sample], path: Path) -> str:
        """Write the rows and their prompt embeddings (float16, as they will be stored) and return the file's sha256."""
        rows = [Row(sample.id, sample.author, sample.prompt, sample.reply) for sample in samples]
        text, _ = encode_rows(rows)
        tensors: dict[str, npt.NDArray[Any]] = {
            "embeddings": self._embedded([row.prompt for row in rows]),
            "rows": np.frombuffer(text, np.uint8),
        }
        data = bytes(save(tensors))
        write_file(path, data, "update write")
        return sha256(data)

    def train(self, folder: Path, parent: Version, update: Update, inputs: Path) -> Version:
        """Write the candidate that ``update`` makes from ``parent`` under ``folder`` and return it.

        Raises
        ------
        CapacityError
            The version would hold more than ``max_rows`` rows.
        CorruptError
            The inputs are not those that the update names.
        """
        from learner.bots.memory_training import fit, views

        rows, embeddings = _read_inputs(inputs, update.inputs)
        if parent.rows + len(rows) > self._max_rows:
            message = f"{parent.rows} rows and {len(rows)} new ones are more than the cap of {self._max_rows}"
            raise CapacityError(f"{message}: raise the row cap in the settings, or roll back to a smaller version")
        segments = (*parent.segments, write_segment(folder, rows, embeddings))
        home = folder_of(folder, parent.id)
        tombstones = (home / TOMBSTONES).read_bytes()
        table = RowTable(folder, segments, tombstones)
        batch = views(table, parent.rows, rows, embeddings.astype(np.float32), update.seed, update.hyper)
        weights = fit(parse((home / RANKER).read_bytes()), batch, update.hyper)
        blank = self._blank(parent.id, update.id, segments, table.size, update.fingerprint)
        return write_version(folder, blank, dump(weights), tombstones)

    def hide(self, folder: Path, parent: Version, update: str, samples: Collection[str]) -> Version:
        """Write the version in which the rows of ``samples`` are hidden by tombstone, all else the same; return it."""
        home = folder_of(folder, parent.id)
        table = RowTable(folder, parent.segments, (home / TOMBSTONES).read_bytes())
        hidden = table.hidden.copy()
        hidden[[at for at in range(table.size) if table.row(at).id in samples]] = True
        blank = replace(parent, parent=parent.id, update=update)
        return write_version(folder, blank, (home / RANKER).read_bytes(), pack_tombstones(hidden))

    def load(self, folder: Path, version: Version) -> Answerer:
        """Verify and load a version; raises :class:`CorruptError` when a file or the encoder is not what it names."""
        if version.encoder != self._encoder.version:
            made, have = version.encoder[:12], self._encoder.version[:12]
            raise CorruptError(
                f"version {version.id[:12]} was made with encoder {made}, this is {have}: restore that encoder"
            )
        self.verify(folder, version)
        return MemoryAnswerer(folder, version, self._embed)

    def verify(self, folder: Path, version: Version) -> None:
        """Raise :class:`CorruptError`, naming the file, unless every file of the version is what its name says."""
        verify_own_files(folder, version)
        for segment in version.segments:
            verify_segment(folder, segment)

    def hyper(self) -> Mapping[str, Any]:
        """Return the hyper-parameters of an update."""
        from learner.bots.memory_training import HYPER

        return dict(HYPER)

    def fingerprint(self) -> Mapping[str, str]:
        """Return hashes of a canary encode and a canary training step, and the versions of the libraries."""
        import torch

        from learner.bots.memory_training import canary

        encoded = hashlib.sha256(self._encoder.embed_many([_CANARY]).tobytes()).hexdigest()
        return {"encode": encoded, "step": canary(), "torch": str(torch.__version__), "numpy": np.__version__}

    def _embed_now(self, text: str) -> Float:
        embedding: Float = self._encoder.embed_many([window(text, self._encoder)])[0]
        return embedding

    def _embedded(self, prompts: Sequence[str]) -> Half:
        vectors = np.zeros((len(prompts), self._encoder.dim), np.float16)
        for at, prompt in enumerate(prompts):
            if prompt:
                vectors[at] = self._encoder.embed_many([window(prompt, self._encoder)])[0]
        return vectors

    def _blank(
        self,
        parent: str,
        update: str,
        segments: tuple[str, ...],
        rows: int,
        fingerprint: Mapping[str, Any] | None = None,
    ) -> Version:
        encoder = self._encoder.version
        return Version("", parent, update, "", segments, "", "", encoder, rows, dict(fingerprint or {}))


def _read_inputs(path: Path, expected: str) -> tuple[list[Row], Half]:
    if file_sha256(path) != expected:
        raise CorruptError(f"{path.name} is not the file that its update was written down with")
    try:
        tensors: dict[str, Any] = load(path.read_bytes())
        embeddings: Float | Half = tensors["embeddings"]
        return decode_rows(tensors["rows"].tobytes()), embeddings.astype(np.float16)
    except (SafetensorError, KeyError, ValueError, TypeError) as exc:
        raise CorruptError(f"{path.name} cannot be read as an update's inputs") from exc
