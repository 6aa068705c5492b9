"""Choose the shipped policy's thresholds by stated false-positive rates: ``python -m bench.thresholds ../shared/data``.

``--write`` writes them into ``filters/policy_default.toml``. Chosen on clean chat (topical_chat_valid_freq,
schema_guided_dev) and on Jigsaw rows that were neither trained on nor kept for the report, a third of the weight each;
where ``identity_attack`` quarantines is chosen on the tune sets of hate. No report row is read. ``bench.accuracy``
measures the outcome on those.
"""

from __future__ import annotations

import argparse
import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import readme
from bench.data import calibration, read
from bench.figures import save
from bench.scored import Array, Found, Scorer
from filters.models.source import FOLDER
from filters.policy import DEFAULT_FILE, Policy

SEED = 7
RATES = {
    "in": {"flag": 0.01, "block": 0.001, "quarantine": 0.02},
    "out": {"flag": 0.015, "block": 0.002, "quarantine": 0.02},
}
"""Share of clean texts that all labels together may reach; what the bot says is judged more strictly."""

HATE = "identity_attack"
HATE_RATE = 0.01
"""Share of clean texts that identity_attack alone may quarantine, of the 2 % in all."""

CLEAN = {"topical_chat_valid_freq": "message", "schema_guided_dev": "utterance"}
UNSEEN_CLEAN = {"topical_chat_valid_rare": "message"}
"""Clean chat that nothing was chosen on."""

BAD: Mapping[str, tuple[str, Callable[[Mapping[str, str]], bool]]] = {
    "toxic_spans_trial": ("text", lambda row: row["spans"] != "[]"),
    "dynahate_eval": ("text", lambda row: row["label"] == "1"),
    "hatemoji_build_validation": ("text", lambda row: row["label_gold"] == "1"),
    "tweeteval_hate_val": ("text", lambda row: row["label"] == "1"),
    "tweeteval_offensive_val": ("text", lambda row: row["label"] == "1"),
    "convabuse_valid": ("user", lambda row: float(row["abuse_share"]) >= 0.5),
}
"""Tune sets: the column to read, and whether a row is bad."""

HATE_SETS = ("dynahate_eval", "hatemoji_build_validation", "tweeteval_hate_val")

Limits = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Clean:
    """Clean texts of several sets, each set with the same weight in all."""

    found: Mapping[str, Found]

    def rate(self, limits: Mapping[str, float]) -> float:
        """Return the share of clean texts on which any label reaches its limit."""
        return float(np.mean([reached(one, limits).mean() for one in self.found.values()]))

    def quantile(self, label: str, share: float) -> float:
        """Return the score that at most this share of the clean texts reaches."""
        scores = np.concatenate([one.of(label) for one in self.found.values()])
        weights = np.concatenate([np.full(len(one.scored), 1 / len(one.scored)) for one in self.found.values()])
        order = np.argsort(-scores)
        above = np.cumsum(weights[order]) / len(self.found)
        least = int(np.searchsorted(above, share, side="right"))
        return rounded(float(scores[order[min(least, len(scores) - 1)]]) + 1e-9)


def reached(found: Found, limits: Mapping[str, float]) -> Array:
    """Return 1.0 for each text on which any label reaches its limit."""
    over: Array = np.zeros(len(found.scored))
    for label, limit in limits.items():
        over = np.maximum(over, found.of(label) >= limit)
    return over


def rounded(score: float) -> float:
    """Return a threshold rounded up to two significant digits, of its distance to 1 where that is the shorter.

    >>> [rounded(score) for score in (0.04321, 0.512, 0.99733, 1.0)]
    [0.044, 0.52, 0.9974, 1.0]
    """
    small = min(score, 1 - score)
    if small <= 0:
        return float(round(score))
    step = 10.0 ** (math.floor(math.log10(small)) - 1)
    return min(1.0, round(math.ceil(score / step - 1e-9) * step, 12))


def by_rate(clean: Clean, labels: tuple[str, ...], rate: float, held: Mapping[str, float]) -> dict[str, float]:
    """Return one threshold per label, each with the same false positives, that together with ``held`` make ``rate``."""
    low, high = 0.0, rate
    for _ in range(20):
        share = (low + high) / 2
        limits = {label: clean.quantile(label, share) for label in labels}
        low, high = (share, high) if clean.rate({**limits, **held}) <= rate else (low, share)
    return {**{label: clean.quantile(label, low) for label in labels}, **held}


def hate_limit(clean: Clean, sets: Mapping[str, tuple[Found, Array]]) -> float:
    """Return the threshold of identity_attack with the best balanced accuracy, mean over sets, within its rate."""
    least = clean.quantile(HATE, HATE_RATE)
    scores = np.concatenate([found.of(HATE) for found, _ in sets.values()])
    asked = sorted({least, *(rounded(float(score)) for score in scores if score >= least)})

    def balanced(limit: float) -> float:
        each = []
        for found, truth in sets.values():
            said = found.of(HATE) >= limit
            each.append((said[truth == 1].mean() + (~said[truth == 0]).mean()) / 2)
        return float(np.mean(each))

    return max(asked, key=balanced)


def choose(clean: Clean, sets: Mapping[str, tuple[Found, Array]]) -> dict[str, Limits]:
    """Return direction to label to the three thresholds."""
    labels = next(iter(clean.found.values())).labels
    hate = hate_limit(clean, {name: sets[name] for name in HATE_SETS})
    others = tuple(label for label in labels if label != HATE)
    chosen: dict[str, Limits] = {}
    for direction, rates in RATES.items():
        limits: Limits = {label: {} for label in labels}
        for outcome, rate in rates.items():
            held = {HATE: hate} if outcome == "quarantine" else {}
            found = by_rate(clean, others if held else labels, rate, held)
            for label, value in found.items():
                limits[label][outcome] = value
        chosen[direction] = limits
    return chosen


def written(text: str, chosen: Mapping[str, Limits]) -> str:
    """Return the policy file with the thresholds chosen, its layout and every other number kept."""
    direction = ""
    lines = []
    for line in text.splitlines():
        if line.startswith("["):
            direction = line.strip("[]").partition(".")[2] if line.startswith("[thresholds.") else ""
        label = line.partition(" = ")[0]
        limits = chosen.get(direction, {}).get(label, {})
        for outcome, value in limits.items():
            line = re.sub(rf"\b{outcome} = [\d.]+", f"{outcome} = {value!r}", line)  # noqa: PLW2901
        lines.append(line)
    return "\n".join(lines) + "\n"


def measured(policy: Policy, clean: Mapping[str, Found], sets: Mapping[str, tuple[Found, Array]]) -> dict[str, Any]:
    """Return what the policy does on each set, bad rows and others apart."""

    def shares(found: Found) -> dict[str, float]:
        return {"rows": len(found.scored), **found.shares(policy)}

    return {
        "thresholds": {
            direction: {
                label: {"flag": one.flag, "block": one.block, "quarantine": one.quarantine}
                for label, one in policy.thresholds[direction].items()
            }
            for direction in policy.thresholds
        },
        "clean": {name: shares(found) for name, found in clean.items()},
        "bad": {name: shares(found.where(truth == 1)) for name, (found, truth) in sets.items()},
        "not_bad": {
            name: shares(found.where(truth == 0)) for name, (found, truth) in sets.items() if (truth == 0).any()
        },
    }


def texts_of(data: Path, name: str, column: str, rows: int) -> list[str]:
    """Return a set's texts, or a seeded sample."""
    texts = [row[column] for row in read(data, name)]
    return random.Random(SEED).sample(texts, rows) if 0 < rows < len(texts) else texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--rows", type=int, default=0, help="rows of each clean set; 0 (default) takes all")
    parser.add_argument("--weights", type=Path, default=FOLDER, help="folder of another encoder.onnx")
    parser.add_argument("--write", action="store_true", help="write filters/policy_default.toml")
    asked = parser.parse_args()
    scorer = Scorer(asked.weights)
    chat = {name: scorer.ours(texts_of(asked.data, name, column, asked.rows)) for name, column in CLEAN.items()}
    unseen = {name: scorer.ours(texts_of(asked.data, name, at, asked.rows)) for name, at in UNSEEN_CLEAN.items()}
    kept = calibration(asked.data)
    jigsaw = (scorer.ours([row.text for row in kept]), np.array([row.labels[0] for row in kept]))
    sets = {"jigsaw_calibration": jigsaw}
    for name, (column, is_bad) in BAD.items():
        rows = list(read(asked.data, name))
        truth = np.array([float(is_bad(row)) for row in rows])
        sets[name] = (scorer.ours([row[column] for row in rows]), truth)
    clean = {**chat, "jigsaw_calibration": jigsaw[0].where(jigsaw[1] == 0)}
    toml = written(DEFAULT_FILE.read_text(encoding="utf-8"), choose(Clean(clean), sets))
    policy = Policy.from_toml(toml)
    figures = {"encoder": scorer.version, "policy": policy.id, "rates": RATES, "rows_limit": asked.rows}
    figures |= measured(policy, {**clean, **unseen}, sets)
    print(readme.policy(figures))
    if asked.write:
        DEFAULT_FILE.write_text(toml, encoding="utf-8")
        print(f"\n{DEFAULT_FILE.name} is written")
    print(f"\n{save('thresholds', figures)}")


if __name__ == "__main__":
    main()
