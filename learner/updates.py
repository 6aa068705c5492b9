"""The write-ahead log of updates: what one training step is made of, on disk before it runs.

``updates/<id>.json`` holds the :class:`~learner.types.Update` with a line of lineage per sample;
``updates/<inputs>.safetensors`` the exact inputs. An update's id is free of time: the same step has the same id.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from learner.errors import CorruptError, DataFolderError, UnknownIdError
from learner.folder import canonical, file_sha256, read_json, sha256, write_file
from learner.types import Bot, Sample, Update

_OUTSIDE_THE_ID = ("id", "created_ms", "epoch", "fingerprint")


@dataclass(frozen=True, slots=True)
class SampleLine:
    """What an update's file says about one of its samples: lineage without text."""

    id: str
    author: str
    kind: str
    request_id: str
    version: str
    captured_ms: int
    policy: str
    filters: Mapping[str, str]
    scores: Mapping[str, Any]
    reasons: Sequence[Mapping[str, Any]]
    released_by: str
    cohort: str = ""


def sample_line(sample: Sample) -> SampleLine:
    """Return a sample's line of lineage."""
    return SampleLine(
        id=sample.id,
        author=sample.author,
        kind=sample.kind,
        request_id=sample.request_id,
        version=sample.version,
        captured_ms=sample.captured_ms,
        policy=sample.policy,
        filters=dict(sample.filters),
        scores=dict(sample.scores),
        reasons=[dict(reason) for reason in sample.reasons],
        released_by=sample.released_by,
        cohort=sample.cohort,
    )


def update_id(update: Update) -> str:
    """Return the id of an update: sha256 over what shapes its outcome, not over when or where it was made."""
    return sha256(canonical({k: v for k, v in asdict(update).items() if k not in _OUTSIDE_THE_ID}))


def seed_of(parent: str, samples: Sequence[str]) -> int:
    """Return the seed of an update, a pure function of its parent and its samples, below 2**53."""
    digest = hashlib.sha256(canonical([parent, list(samples)])).digest()
    return int.from_bytes(digest[:8], "big") >> 11


def code_version() -> str:
    """Return the version of this code, for the record."""
    try:
        return f"tayguard {metadata.version('tayguard')}"
    except metadata.PackageNotFoundError:
        return "tayguard (not installed)"


class UpdateLog:
    """Write and read updates under ``data_dir/updates``; ``content_hash`` is a keyed hash of a text."""

    def __init__(self, data_dir: Path, content_hash: Callable[[str], str]) -> None:
        self._folder = data_dir / "updates"
        self._content_hash = content_hash

    def write(
        self, bot: Bot, parent: str, samples: Sequence[Sample], *, epoch: int, created_ms: int, hyper: Mapping[str, Any]
    ) -> Update:
        """Write an update of ``samples`` in their order, inputs first, to disk, and return it."""
        inputs = self._write_inputs(bot, samples)
        ids = tuple(sample.id for sample in samples)
        update = Update(
            id="",
            parent=parent,
            bot=bot.name,
            samples=ids,
            content=tuple(self._content_hash(f"{sample.prompt}\x00{sample.reply}") for sample in samples),
            inputs=inputs,
            seed=seed_of(parent, ids),
            hyper=dict(hyper),
            epoch=epoch,
            created_ms=created_ms,
            fingerprint=dict(bot.fingerprint()),
            code=code_version(),
        )
        update = replace(update, id=update_id(update))
        lines = [asdict(sample_line(sample)) for sample in samples]
        body = {"update": asdict(update), "samples": lines}
        write_file(self._path(update.id), canonical({**body, "checksum": sha256(canonical(body))}), "update write")
        return update

    def read(self, update_id_: str) -> Update:
        """Return an update.

        Raises
        ------
        UnknownIdError
            No update has this id.
        CorruptError
            The file is not what its name says.
        """
        body = self._read(update_id_)["update"]
        update = Update(**{**body, "samples": tuple(body["samples"]), "content": tuple(body["content"])})
        if update.id != update_id_ or update_id(update) != update_id_:
            raise CorruptError(f"updates/{update_id_[:12]}.json is not that update")
        return update

    def lineage(self, update_id_: str) -> list[SampleLine]:
        """Return a line per sample of an update, in its order."""
        return [SampleLine(**line) for line in self._read(update_id_)["samples"]]

    def inputs(self, update: Update) -> Path:
        """Return the file with an update's exact inputs; raises :class:`CorruptError` when it is another's."""
        path = self._folder / f"{update.inputs}.safetensors"
        if file_sha256(path) != update.inputs:
            raise CorruptError(f"updates/{path.name[:12]}.safetensors is damaged: the update cannot be replayed")
        return path

    def _write_inputs(self, bot: Bot, samples: Sequence[Sample]) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        aside = self._folder / f".inputs.{uuid.uuid4().hex}"
        try:
            name = bot.prepare(samples, aside)
            aside.replace(self._folder / f"{name}.safetensors")
        except OSError as exc:
            raise DataFolderError(f"cannot write at update write ({exc.strerror}): check the data folder") from exc
        finally:
            aside.unlink(missing_ok=True)
        return name

    def _path(self, update_id_: str) -> Path:
        return self._folder / f"{update_id_}.json"

    def _read(self, update_id_: str) -> dict[str, Any]:
        path = self._path(update_id_)
        if not path.is_file():
            raise UnknownIdError(f"no update {update_id_[:12]} in the data folder")
        body = read_json(path)
        checksum = body.pop("checksum", None)
        if checksum != sha256(canonical(body)):
            raise CorruptError(f"updates/{update_id_[:12]}.json is damaged")
        return body
