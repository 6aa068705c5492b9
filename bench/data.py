"""Rows of ../shared/data: labels apart, missing ones masked, nothing to train on that a tune or report file holds."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LABELS = ("toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack")
JIGSAW = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
MISSING = math.nan

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
    "toxic_spans_train": ("Pavlopoulos et al. 2021, SemEval-2021 task 5", "CC0"),
    "dynahate_train": ("Vidgen et al. 2021, Learning from the Worst", "attribution of the paper"),
    "hatemoji_build_train": ("Kirk et al. 2022, HatemojiBuild", "CC BY 4.0"),
    "davidson_train": ("Davidson et al. 2017, Automated Hate Speech Detection", "MIT"),
    "tweeteval_hate_train": ("Barbieri et al. 2020, TweetEval (HatEval 2019)", "the original set's terms"),
    "tweeteval_offensive_train": ("Barbieri et al. 2020, TweetEval (OLID 2019)", "the original set's terms"),
    "toxigen_train": ("Hartvigsen et al. 2022, ToxiGen (SafeNLP's part)", "MIT"),
    "edos_train_dev": ("Kirk et al. 2023, Explainable Detection of Online Sexism, train split", "CC0"),
    "paradetox": ("Logacheva et al. 2022, ParaDetox", "CC0"),
    "convabuse_train": ("Cercas Curry et al. 2021, ConvAbuse", "CC BY 4.0"),
    "clinc150_train": ("Larson et al. 2019, CLINC150", "CC BY 3.0"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One text with its labels in the order of ``LABELS``; NaN is missing.

    ``toxic_chars`` are half-open ranges that annotators marked, None where nobody did.
    """

    text: str
    labels: tuple[float, ...]
    source: str
    toxic_chars: tuple[tuple[int, int], ...] | None = None


def normalised(text: str) -> str:
    """Return lower-case letters and digits only, as the data's README asks.

    >>> normalised("It's 5 o'clock!")
    'its5oclock'
    """
    return "".join(character for character in text.lower() if character.isalnum())


def _share(text: str) -> int:
    return int(hashlib.sha256(normalised(text).encode()).hexdigest(), 16)


def is_report(text: str) -> bool:
    """Return whether a six-label row of jigsaw_train is kept for the report."""
    return _share(text) % 5 == 0


def read(folder: Path, name: str) -> Iterator[dict[str, str]]:
    """Yield the rows of one file."""
    csv.field_size_limit(sys.maxsize)
    with gzip.open(folder / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def jigsaw(folder: Path, *, report: bool) -> list[Row]:
    """Return jigsaw_train's rows kept for the report, or all others."""
    rows = []
    for row in read(folder, "jigsaw_train"):
        labels = tuple(float(row[name]) if row[name] else MISSING for name in JIGSAW)
        whole = not any(math.isnan(value) for value in labels)
        if (whole and is_report(row["comment_text"])) == report:
            rows.append(Row(row["comment_text"], labels, "jigsaw_train"))
    return rows


def calibration(folder: Path) -> list[Row]:
    """Return a tenth of jigsaw_train's six-label rows outside the report, at natural prevalence; never trained on."""
    rows = jigsaw(folder, report=False)
    return [row for row in rows if not any(map(math.isnan, row.labels)) and _share(row.text) // 5 % 10 == 0]


def _labels(**known: float) -> tuple[float, ...]:
    return tuple(known.get(label, MISSING) for label in LABELS)


CLEAN = (0.0,) * len(LABELS)
"""What is not toxic is none of the others either, as each is a kind of toxic."""


def _toxicity(share: float) -> tuple[float, ...]:
    return CLEAN if share == 0.0 else _labels(toxicity=share)


def _hate(value: str) -> tuple[float, ...]:
    """Return hate's labels: it is toxic; what is not hate may be all the same, an insult to one person for one."""
    hateful = value in {"1", "hate", "sexist"}
    return _labels(toxicity=1.0, identity_attack=1.0) if hateful else _labels(identity_attack=0.0)


def char_ranges(offsets: str) -> tuple[tuple[int, int], ...]:
    """Return character offsets as ranges.

    >>> char_ranges("[3, 4, 5, 9]")
    ((3, 6), (9, 10))
    """
    found: list[tuple[int, int]] = []
    for place in json.loads(offsets):
        if found and found[-1][1] == place:
            found[-1] = (found[-1][0], place + 1)
        else:
            found.append((place, place + 1))
    return tuple(found)


def _helps(folder: Path) -> Iterator[Row]:
    for row in read(folder, "toxic_spans_train"):
        yield Row(row["text"], _labels(toxicity=1.0), "toxic_spans_train", char_ranges(row["spans"]))
    for row in read(folder, "civil_comments_votes"):
        share = 1 - float(row["not_toxic"]) / max(1.0, float(row["raters"]))
        yield Row(row["comment_text"], _toxicity(share), "civil_comments_votes")
    yield from _hateful(folder)
    for row in read(folder, "davidson_train"):
        known = {"0": _hate("1"), "1": _labels(toxicity=1.0, identity_attack=0.0), "2": CLEAN}
        yield Row(row["tweet"], known[row["class"]], "davidson_train")
    for row in read(folder, "tweeteval_offensive_train"):
        yield Row(row["text"], _toxicity(float(row["label"])), "tweeteval_offensive_train")
    for row in read(folder, "paradetox"):
        yield Row(row["toxic"], _labels(toxicity=1.0), "paradetox")
        yield Row(row["neutral1"], CLEAN, "paradetox")
    for row in read(folder, "convabuse_train"):
        yield Row(row["user"], _toxicity(float(float(row["abuse_share"]) >= 0.5)), "convabuse_train")
    for row in read(folder, "clinc150_train"):
        yield Row(row["text"], CLEAN, "clinc150_train")


def _hateful(folder: Path) -> Iterator[Row]:
    for row in read(folder, "dynahate_train"):
        yield Row(row["text"], _hate(row["label"]), "dynahate_train")
    for row in read(folder, "hatemoji_build_train"):
        yield Row(row["text"], _hate(row["label_gold"]), "hatemoji_build_train")
    for row in read(folder, "toxigen_train"):
        text = row["text"].replace("_x000D_", " ")
        yield Row(text, _hate(row["label"]), "toxigen_train")
    for row in read(folder, "tweeteval_hate_train"):
        yield Row(row["text"], _hate(row["label"]), "tweeteval_hate_train")
    for row in read(folder, "edos_train_dev"):
        if row["split"] == "train":
            yield Row(row["text"], _hate(row["label_sexist"]), "edos_train_dev")


def training(folder: Path) -> tuple[dict[str, list[Row]], dict[str, int]]:
    """Return the training rows by source, each text once, and how many stand in a tune, report or calibration file."""
    apart = {normalised(row[column]) for name, column in KEPT_APART.items() for row in read(folder, name)}
    apart |= {normalised(row["text"]) for row in read(folder, "edos_train_dev") if row["split"] != "train"}
    apart |= {normalised(row.text) for row in (*jigsaw(folder, report=True), *calibration(folder))}
    by_source: dict[str, list[Row]] = {name: [] for name in SOURCES}
    dropped = dict.fromkeys(SOURCES, 0)
    seen: set[str] = set()
    for row in [*jigsaw(folder, report=False), *_helps(folder)]:
        key = normalised(row.text)
        if key in apart:
            dropped[row.source] += 1
        elif key and key not in seen:
            seen.add(key)
            by_source[row.source].append(row)
    return by_source, dropped
