"""Rows of ../shared/data for the heads: labels apart, missing ones masked, nothing that a tune or report file holds."""

from __future__ import annotations

import csv
import gzip
import hashlib
import math
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LABELS = ("toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack")
JIGSAW = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
MISSING = math.nan
LONGEST = 400  # characters of a training row: its label speaks of what the first unit shows

KEPT_APART = {
    "jigsaw_eval": "comment_text",
    "toxic_spans_trial": "text",
    "dynahate_eval": "text",
    "hatecheck_eval": "test_case",
    "hatemoji_build_validation": "text",
    "hatemoji_build_test": "text",
    "tweeteval_hate_val": "text",
    "tweeteval_offensive_val": "text",
    "implicit_hate_eval": "text",
    "bias_madlibs_eval": "Text",
    "context_toxicity_train": "text",
    "diasafety_val": "response",
    "convabuse_valid": "user",
    "topical_chat_valid_freq": "message",
    "topical_chat_valid_rare": "message",
    "clinc150_val": "text",
    "clinc150_oos_val": "text",
    "banking77_train": "text",
    "schema_guided_dev": "utterance",
}
SOURCES = {
    "jigsaw_train": ("Jigsaw Toxic Comment Classification Challenge 2018, partial", "CC0 (text: Wikipedia)"),
    "civil_comments_votes": ("Civil Comments slice (Toxic Spans)", "CC0"),
    "davidson_train": ("Davidson et al. 2017, Automated Hate Speech Detection", "MIT"),
    "dynahate_train": ("Vidgen et al. 2021, Learning from the Worst", "attribution of the paper"),
    "paradetox": ("Logacheva et al. 2022, ParaDetox", "CC0"),
    "convabuse_train": ("Cercas Curry et al. 2021, ConvAbuse", "CC BY 4.0"),
    "diasafety_train": ("Sun et al. 2022, DiaSafety", "Apache-2.0"),
    "clinc150_train": ("Larson et al. 2019, CLINC150", "CC BY 3.0"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One text with its labels in the order of ``LABELS``; NaN is missing."""

    text: str
    labels: tuple[float, ...]
    source: str


def normalised(text: str) -> str:
    """Return lower-case letters and digits only, as the data's README asks.

    >>> normalised("It's 5 o'clock!")
    'its5oclock'
    """
    return "".join(character for character in text.lower() if character.isalnum())


def is_report(text: str) -> bool:
    """Return whether a six-label row of jigsaw_train is kept for the report."""
    return int(hashlib.sha256(normalised(text).encode()).hexdigest(), 16) % 5 == 0


def read(folder: Path, name: str) -> Iterator[dict[str, str]]:
    """Yield the rows of one file."""
    csv.field_size_limit(sys.maxsize)
    with gzip.open(folder / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _only(label: str, value: float) -> tuple[float, ...]:
    """Return one known label; what is not toxic is none of the others either, as each is a kind of toxic."""
    if label == "toxicity" and value == 0.0:
        return (0.0,) * len(LABELS)
    return tuple(value if name == label else MISSING for name in LABELS)


def jigsaw(folder: Path, *, report: bool) -> list[Row]:
    """Return jigsaw_train's rows for training, or those kept for the report."""
    rows = []
    for row in read(folder, "jigsaw_train"):
        labels = tuple(float(row[name]) if row[name] else MISSING for name in JIGSAW)
        whole = not any(math.isnan(value) for value in labels)
        if (whole and is_report(row["comment_text"])) == report:
            rows.append(Row(row["comment_text"], labels, "jigsaw_train"))
    return rows


def _helps(folder: Path) -> Iterator[Row]:
    for row in read(folder, "civil_comments_votes"):
        share = 1 - float(row["not_toxic"]) / max(1.0, float(row["raters"]))
        if share <= 0.25 or share >= 0.75:
            yield Row(row["comment_text"], _only("toxicity", float(share >= 0.75)), "civil_comments_votes")
    for row in read(folder, "davidson_train"):
        yield Row(row["tweet"], _only("toxicity", float(row["class"] != "2")), "davidson_train")
    for row in read(folder, "dynahate_train"):
        yield Row(row["text"], _only("identity_attack", float(row["label"])), "dynahate_train")
    for row in read(folder, "paradetox"):
        yield Row(row["toxic"], _only("toxicity", 1.0), "paradetox")
        yield Row(row["neutral1"], _only("toxicity", 0.0), "paradetox")
    for row in read(folder, "convabuse_train"):
        yield Row(row["user"], _only("toxicity", float(float(row["abuse_share"]) >= 0.5)), "convabuse_train")
    for row in read(folder, "diasafety_train"):
        if row["label"] == "Safe":
            yield Row(row["context"], _only("threat", 0.0), "diasafety_train")
    for row in read(folder, "clinc150_train"):
        yield Row(row["text"], (0.0,) * len(LABELS), "clinc150_train")


LIMITS = {
    "jigsaw_train": 9_000,
    "civil_comments_votes": 1_200,
    "davidson_train": 1_200,
    "dynahate_train": 2_500,
    "paradetox": 2_600,
    "convabuse_train": 2_500,
    "diasafety_train": 300,
    "clinc150_train": 4_000,
}
"""Rows taken of each source, all rare positives of Jigsaw first; a few minutes of one core in all."""


def training(folder: Path, seed: int, scale: float = 1.0) -> tuple[list[Row], dict[str, int]]:
    """Return the training rows, shuffled, and what was dropped for standing in a tune or report file."""
    apart = {normalised(row[column]) for name, column in KEPT_APART.items() for row in read(folder, name)}
    apart |= {normalised(row.text) for row in jigsaw(folder, report=True)}
    by_source: dict[str, list[Row]] = {name: [] for name in SOURCES}
    dropped = dict.fromkeys(SOURCES, 0)
    seen: set[str] = set()
    for row in [*jigsaw(folder, report=False), *_helps(folder)]:
        key = normalised(row.text)
        if key in apart:
            dropped[row.source] += 1
        elif key and key not in seen and len(row.text) <= LONGEST:
            seen.add(key)
            by_source[row.source].append(row)
    dice = random.Random(seed)
    rows: list[Row] = []
    for name, found in by_source.items():
        dice.shuffle(found)
        if name == "jigsaw_train":
            found.sort(key=_rarity, reverse=True)
        rows.extend(found[: int(LIMITS[name] * scale)])
    dice.shuffle(rows)
    return rows, dropped


def _rarity(row: Row) -> float:
    """Return 1 for positives beyond plain toxicity, so that the limit never drops them."""
    return float(any(value == 1.0 for value in row.labels[1:]))
