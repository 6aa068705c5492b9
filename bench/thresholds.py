"""Measure the shipped policy: ``python -m bench.thresholds ../shared/data``; the figures go into ``heads.json``.

Thresholds are chosen on clean chat (topical_chat_valid_freq) and on abuse aimed at chatbots (convabuse_valid), which
are for tuning; the other clean set and the report rows of jigsaw_train only measure them.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.data import LABELS, jigsaw, read
from bench.train_heads import SEED, auc, write_manifest
from filters.guardian import Guardian
from filters.models import build, source
from filters.policy import Policy
from filters.types import Item, Scores

ROWS = 1_500
REPORT_ROWS = 1_000
LONGEST = 1_500  # characters of a report row: longer ones take a second each and change no figure by a point


def judged(guardian: Guardian, texts: Sequence[str]) -> list[list[Scores]]:
    """Return every text's scores over its units, variants and filters."""
    return [list(guardian.judge(Item(text))[0].values()) for text in texts]


def shares(policy: Policy, scores: Sequence[list[Scores]]) -> dict[str, float | int]:
    """Return which share of the texts the policy blocks, flags (or worse) and holds for learning."""
    verdicts = [policy.decide(one, "in") for one in scores]
    count = len(verdicts)
    return {
        "rows": count,
        "blocked": round(sum(v.serve == "block" for v in verdicts) / count, 4),
        "flagged_or_worse": round(sum(v.serve != "allow" for v in verdicts) / count, 4),
        "kept_from_learning": round(sum(v.learn != "hold" for v in verdicts) / count, 4),
    }


def quantiles(scores: Sequence[list[Scores]]) -> dict[str, list[float]]:
    """Return the 95, 99, 99.5 and 99.9 % quantiles of each label."""
    table = np.array([[one[0].values[label] for label in LABELS] for one in scores])
    found = np.quantile(table, [0.95, 0.99, 0.995, 0.999], axis=0)
    return {label: [round(float(value), 3) for value in found[:, i]] for i, label in enumerate(LABELS)}


def measure(data: Path, guardian: Guardian) -> dict[str, object]:
    """Return the figures of the shipped policy on each set."""
    dice = random.Random(SEED)
    policy = guardian.policy
    figures: dict[str, object] = {
        "thresholds": json.loads(policy.to_json())["thresholds"],
        "command": "python -m bench.thresholds ../shared/data",
    }
    for name in ("topical_chat_valid_freq", "topical_chat_valid_rare"):
        clean = judged(guardian, dice.sample([row["message"] for row in read(data, name)], ROWS))
        figures[name] = {**shares(policy, clean), "quantiles_95_99_995_999": quantiles(clean)}
        print(name, json.dumps(figures[name]), flush=True)
    rows = list(read(data, "convabuse_valid"))
    for name, abusive in (("convabuse_valid_abusive", True), ("convabuse_valid_not_abusive", False)):
        texts = [row["user"] for row in rows if (float(row["abuse_share"]) >= 0.5) == abusive]
        figures[name] = shares(policy, judged(guardian, texts))
        print(name, json.dumps(figures[name]), flush=True)
    kept = [row for row in jigsaw(data, report=True) if len(row.text) <= LONGEST]
    kept = dice.sample(kept, REPORT_ROWS)
    scores = judged(guardian, [row.text for row in kept])
    truth = np.array([row.labels for row in kept])
    for name, wanted in (("jigsaw_report_toxic", 1.0), ("jigsaw_report_clean", 0.0)):
        chosen = [one for one, label in zip(scores, truth[:, 0], strict=True) if label == wanted]
        figures[name] = shares(policy, chosen)
        print(name, json.dumps(figures[name]), flush=True)
    table = np.array([[one[0].values[label] for label in LABELS] for one in scores])
    figures["jigsaw_report_auc"] = {label: round(auc(table[:, i], truth[:, i]), 4) for i, label in enumerate(LABELS)}
    print(json.dumps(figures["jigsaw_report_auc"]), flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    chosen = parser.parse_args()
    figures = measure(chosen.data, Guardian())
    path = source.FOLDER / build.HEADS_MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["shipped_policy"] = figures
    write_manifest(source.FOLDER, manifest)


if __name__ == "__main__":
    main()
