"""Texts to scores as the guard gives them, over all cores, each text of one model and one code only once.

What was scored is kept under ``bench/out/scores`` by a hash of the text; never the text.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

import filters
from filters.encoder import OnnxEncoder
from filters.guardian import Guardian
from filters.merge import over_filters
from filters.models.source import FOLDER, sha256_of
from filters.normalise import Normaliser, Variant
from filters.policy import Policy
from filters.toxicity import ToxicityFilter
from filters.types import Direction, Scores, Verdict

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CHUNK = 24  # texts that a process takes at a time
POLICY_FILES = frozenset({"policy.py", "policy_file.py", "wire.py", "plugins.py", "detoxify.py", "errors.py"})
"""Code of the package that no score depends on."""


@dataclass(frozen=True)
class Found:
    """Scores of many texts: ``values`` is (texts, labels); ``readings`` counts the units and their variants."""

    labels: tuple[str, ...]
    values: Array
    scored: Bools
    units: Array
    readings: Array

    def of(self, label: str) -> Array:
        """Return one label's scores."""
        return self.values[:, self.labels.index(label)]

    def where(self, chosen: Bools | npt.NDArray[np.intp]) -> Found:
        """Return the texts chosen."""
        parts = (self.values[chosen], self.scored[chosen], self.units[chosen], self.readings[chosen])
        return Found(self.labels, *parts)

    def verdicts(self, policy: Policy, direction: Direction = "in") -> list[Verdict]:
        """Return the policy's verdict on each text."""
        rows = zip(self.values, self.scored, strict=True)
        spoken = {
            side: {label: one for label, one in limits.items() if label in self.labels}
            for side, limits in policy.thresholds.items()
        }
        policy = replace(policy, thresholds=spoken)  # languages are apart: bench.language
        return [policy.decide([_scores(self.labels, values, bool(whole))], direction) for values, whole in rows]

    def shares(self, policy: Policy, direction: Direction = "in") -> dict[str, float]:
        """Return which share of the texts the policy blocks, flags (or worse), keeps from learning, cannot judge."""
        found = self.verdicts(policy, direction)
        kinds = {
            "blocked": [one.serve == "block" for one in found],
            "flagged": [one.serve in {"flag", "block"} for one in found],
            "kept": [one.learn != "hold" for one in found],
            "unscored": [one.serve == "unscored" for one in found],
        }
        return {name: round(float(np.mean(values)), 5) for name, values in kinds.items()}


class Nothing(Normaliser):
    """No variants: the raw model."""

    def variants(self, text: str, context: str = "") -> tuple[Variant, ...]:  # noqa: ARG002
        """Return none."""
        return ()


class Counting(Normaliser):
    """The shipped variants, counted."""

    def __init__(self, encoder: OnnxEncoder) -> None:
        super().__init__(encoder.vocabulary)
        self.asked = self.proposed = 0

    def variants(self, text: str, context: str = "") -> tuple[Variant, ...]:
        """Return what the shipped normaliser finds."""
        found = super().variants(text, context)
        self.asked += 1
        self.proposed += len(found)
        return found


class Scorer:
    """All cores' guards over one model; ``folder`` holds its ``encoder.onnx``."""

    def __init__(self, folder: Path = FOLDER, cache: Path = Path("bench/out/scores")) -> None:
        encoder = OnnxEncoder(folder)
        self.version, self.labels = encoder.version, encoder.labels
        cache.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._store = sqlite3.connect(cache / f"{self.version[:16]}-{_code()[:16]}.sqlite")
        self._store.execute("CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, row BLOB NOT NULL)")

    def ours(self, texts: Sequence[str]) -> Found:
        """Return the guard's scores, the highest over units and variants."""
        return self._found(texts, plain=False)

    def raw(self, texts: Sequence[str]) -> Found:
        """Return the model's scores over units, nothing undone; a text without variants has the guard's."""
        ours = self._found(texts, plain=False)
        same = ours.units == ours.readings
        others = self._found([text for text, alike in zip(texts, same, strict=True) if not alike], plain=True)
        values, scored = ours.values.copy(), ours.scored.copy()
        values[~same], scored[~same] = others.values, others.scored
        return Found(self.labels, values, scored, ours.units, ours.units)

    def _found(self, texts: Sequence[str], *, plain: bool) -> Found:
        keys = [_key(text, plain=plain) for text in texts]
        known = self._known(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        for key, row in _scored(self.folder, missing, plain=plain):
            known[key] = row
            self._store.execute("INSERT OR REPLACE INTO scores VALUES (?, ?)", (key, row))
            if len(known) % 500 == 0:
                self._store.commit()
        self._store.commit()
        width = len(self.labels) + 3
        rows = np.frombuffer(b"".join(known[key] for key in keys), dtype=np.float64).reshape(-1, width)
        values, (scored, units, readings) = rows[:, :-3], rows[:, -3:].T
        return Found(self.labels, values, scored > 0, units, readings)

    def _known(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for key in keys:
            for (row,) in self._store.execute("SELECT row FROM scores WHERE key = ?", (key,)):
                found[key] = row
        return found


def _scored(folder: Path, missing: dict[bytes, str], *, plain: bool) -> Iterator[tuple[bytes, bytes]]:
    """Yield each text's row as it comes, long texts first, so that no core waits for one at the end."""
    keys = sorted(missing, key=lambda key: -len(missing[key]))
    chunks = [keys[at : at + CHUNK] for at in range(0, len(keys), CHUNK)]
    if not chunks:
        return
    began_s = time.monotonic()
    spawn = multiprocessing.get_context("spawn")
    cores = min(os.cpu_count() or 1, len(chunks))
    with ProcessPoolExecutor(cores, spawn, _start, (folder, plain)) as pool:
        texts = ([missing[key] for key in chunk] for chunk in chunks)
        for number, (chunk, rows) in enumerate(zip(chunks, pool.map(_work, texts), strict=True), 1):
            yield from zip(chunk, rows, strict=True)
            if sys.stderr.isatty():
                print(f"\rscored {min(number * CHUNK, len(keys))} of {len(keys)}", end="", file=sys.stderr, flush=True)
    print(f"\rscored {len(keys)} texts in {time.monotonic() - began_s:.0f} s", file=sys.stderr)


_GUARDS: list[tuple[Guardian, Counting | None]] = []


def _start(folder: Path, plain: bool) -> None:  # noqa: FBT001  (a process's start is called by place)
    encoder = OnnxEncoder(folder)
    counting = None if plain else Counting(encoder)
    _GUARDS.append((Guardian([ToxicityFilter(encoder)], normaliser=counting or Nothing()), counting))


def _work(texts: Sequence[str]) -> list[bytes]:
    guardian, counting = _GUARDS[0]
    rows = []
    for text in texts:
        before = (counting.asked, counting.proposed) if counting else (0, 0)
        (scores,) = guardian.score_many([text])
        asked, proposed = (counting.asked - before[0], counting.proposed - before[1]) if counting else (0, 0)
        values = [scores.values.get(label, 0.0) for label in guardian.filters[0].labels]
        rows.append(np.array([*values, scores.scored, asked, asked + proposed], dtype=np.float64).tobytes())
    return rows


def _scores(labels: Sequence[str], values: Array, whole: bool) -> Scores:  # noqa: FBT001
    found = dict(zip(labels, map(float, values), strict=True))
    return over_filters({"toxicity": Scores("toxicity", "", found, coverage=1.0 if whole else 0.0)})


def _key(text: str, *, plain: bool) -> bytes:
    return hashlib.sha256((b"raw " if plain else b"ours ") + text.encode("utf-8", "surrogatepass")).digest()


def _code() -> str:
    """Return the hash of the code that shapes a score."""
    folder = Path(filters.__file__).parent
    files = sorted(path for path in folder.glob("*.py") if path.name not in POLICY_FILES)
    return hashlib.sha256("".join(map(sha256_of, files)).encode()).hexdigest()
