"""How good the shipped scores are on the rows kept for the report: ``python -m bench.accuracy ../shared/data``.

Prints the README's tables and writes ``bench/out/accuracy.json``. Nothing is chosen by these figures: thresholds come
from ``bench.thresholds``, training from ``bench.train_encoder``, and neither reads a report row.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import fidelity, readme
from bench.data import LABELS, jigsaw, read
from bench.figures import save
from bench.identity import LEAST_ROWS, bias, worst
from bench.metrics import Array, auc, calibration_error, interval, reliability
from bench.scored import Found, Scorer
from filters.models.source import FOLDER
from filters.policy import Policy

SEED = 11
FOLDS = 5
CLEAN = {"topical_chat_valid_freq": "message", "topical_chat_valid_rare": "message", "schema_guided_dev": "utterance"}

Figures = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """What every part measures with; ``rows`` limits each set, 0 takes all of it."""

    data: Path
    scorer: Scorer
    policy: Policy
    rows: int = 0

    def drawn(self, rows: list[Any]) -> list[Any]:
        """Return all rows, or a seeded sample."""
        return random.Random(SEED).sample(rows, self.rows) if 0 < self.rows < len(rows) else rows

    def read(self, name: str) -> list[dict[str, str]]:
        """Return a set's rows."""
        return self.drawn(list(read(self.data, name)))

    def scores(self, rows: Sequence[dict[str, str]], column: str) -> Found:
        """Return the guard's scores of one column."""
        return self.scorer.ours([row[column] for row in rows])


def area(scores: Array, truth: Array) -> Figures:
    """Return rows, positives, AUC and its 95 % interval."""
    low, high = interval(auc, scores, truth)
    positives = int((truth == 1).sum())
    ends = [round(low, 4), round(high, 4)]
    return {"rows": len(truth), "positives": positives, "auc": round(auc(scores, truth), 4), "interval": ends}


def truths(rows: Sequence[dict[str, str]], column: str, bad: Sequence[str]) -> Array:
    """Return 1.0 for each row whose column says one of ``bad``."""
    return np.array([row[column] in bad for row in rows], dtype=np.float64)


def jigsaw_report(bench: Bench) -> Figures:
    """Return AUC by label, their mean without threat, the calibration error and the policy's false positives."""
    rows = bench.drawn(jigsaw(bench.data, report=True))
    found = bench.scorer.ours([row.text for row in rows])
    truth = np.array([row.labels for row in rows])
    table = np.stack([found.of(label) for label in LABELS], axis=1)
    most = [at for at, label in enumerate(LABELS) if label != "threat"]

    def mean(scores: Array, true: Array) -> float:
        return float(np.mean([auc(scores[:, at], true[:, at]) for at in most]))

    low, high = interval(mean, table, truth)
    errors = interval(calibration_error, table[:, 0], truth[:, 0])
    bins = [[n, round(said, 4), round(true, 4)] for n, said, true in reliability(table[:, 0], truth[:, 0])]
    toxic = truth[:, 0] == 1
    return {
        "labels": {label: area(table[:, at], truth[:, at]) for at, label in enumerate(LABELS)},
        "mean_without_threat": {"auc": round(mean(table, truth), 4), "interval": [round(low, 4), round(high, 4)]},
        "calibration_error": round(calibration_error(table[:, 0], truth[:, 0]), 4),
        "calibration_error_interval": [round(value, 4) for value in errors],
        "reliability": bins,
        "policy": {
            "clean": {"rows": int((~toxic).sum()), **found.where(~toxic).shares(bench.policy)},
            "toxic": {"rows": int(toxic.sum()), **found.where(toxic).shares(bench.policy)},
        },
    }


def hatecheck(bench: Bench) -> Figures:
    """Return AUC of ``identity_attack``, and accuracies at the policy's threshold for learning."""
    rows = bench.read("hatecheck_eval")
    scores = bench.scores(rows, "test_case").of("identity_attack")
    truth = truths(rows, "label_gold", ["hateful"])
    limit = bench.policy.thresholds["in"]["identity_attack"].quarantine
    if limit is None:
        raise SystemExit("the policy has no threshold quarantine for identity_attack; run bench.thresholds --write")
    right = (scores >= limit) == (truth == 1)
    kinds = np.array([row["functionality"] for row in rows])
    by_kind = {
        str(kind): {"rows": int((kinds == kind).sum()), "right": round(float(right[kinds == kind].mean()), 4)}
        for kind in sorted(set(kinds))
    }
    return {
        **area(scores, truth),
        "threshold": limit,
        "right_hateful": round(float(right[truth == 1].mean()), 4),
        "right_not_hateful": round(float(right[truth == 0].mean()), 4),
        "right": round(float(right.mean()), 4),
        "by_functionality": by_kind,
    }


def madlibs(bench: Bench) -> Figures:
    """Return the worst identity term by subgroup AUC, BPSN and BNSP of ``toxicity``, and every term's."""
    rows = bench.read("bias_madlibs_eval")
    scores = bench.scores(rows, "Text").of("toxicity")
    truth = truths(rows, "Label", ["BAD"])
    least = LEAST_ROWS if not bench.rows else max(4, LEAST_ROWS * len(rows) // 12_000)
    terms = bias([row["Text"] for row in rows], scores, truth, least)
    ends = {name: {"term": term, "auc": round(value, 4)} for name, (term, value) in worst(terms).items()}
    rounded = {term: {name: round(value, 4) for name, value in one.items()} for term, one in terms.items()}
    return {**area(scores, truth), "least_rows": least, "worst": ends, "terms": rounded}


def plain(name: str, column: str, label: str, truth_of: str, bad: Sequence[str]) -> Callable[[Bench], Figures]:
    """Return a part: one set, one column, one label."""

    def part(bench: Bench) -> Figures:
        rows = bench.read(name)
        return {"label": label, **area(bench.scores(rows, column).of(label), truths(rows, truth_of, bad))}

    return part


def in_context(bench: Bench) -> Figures:
    """Return AUC over all rows and its mean and spread over five stratified folds: there are few positives."""
    rows = bench.read("context_toxicity_train")
    scores = bench.scores(rows, "text").of("toxicity")
    truth = truths(rows, "label", ["1"])
    dice = np.random.default_rng(SEED)
    fold = np.empty(len(rows), dtype=int)
    for kind in (0.0, 1.0):
        places = np.flatnonzero(truth == kind)
        fold[places] = dice.permutation(len(places)) % FOLDS
    each = [auc(scores[fold == at], truth[fold == at]) for at in range(FOLDS)]
    spread = {"folds_mean": round(float(np.nanmean(each)), 4), "folds_sd": round(float(np.nanstd(each, ddof=1)), 4)}
    return {"label": "toxicity", **area(scores, truth), **spread}


def clean_chat(bench: Bench) -> Figures:
    """Return the policy's false positives on clean chat, and how many readings a unit of it costs."""
    figures: Figures = {}
    for name, column in CLEAN.items():
        found = bench.scores(bench.read(name), column)
        readings = round(float(found.readings.sum() / found.units.sum()), 4)
        figures[name] = {"rows": len(found.scored), **found.shares(bench.policy), "readings_a_unit": readings}
    return figures


PARTS: dict[str, Callable[[Bench], Figures]] = {
    "jigsaw_report": jigsaw_report,
    "jigsaw_eval": plain("jigsaw_eval", "comment_text", "toxicity", "toxic", ["1", "1.0"]),
    "hatecheck": hatecheck,
    "madlibs": madlibs,
    "hatemoji_build_test": plain("hatemoji_build_test", "text", "identity_attack", "label_gold", ["1"]),
    "implicit_hate_eval": plain("implicit_hate_eval", "text", "identity_attack", "label", ["hate"]),
    "context_toxicity": in_context,
    "clean_chat": clean_chat,
    "fidelity": lambda bench: fidelity.measure(bench.data, bench.scorer.folder, bench.rows),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--rows", type=int, default=0, help="rows of each set; 0 (default) takes all")
    parser.add_argument("--weights", type=Path, default=FOLDER, help="folder of another encoder.onnx")
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=PARTS, help="parts by name; writes no file")
    chosen = parser.parse_args()
    bench = Bench(chosen.data, Scorer(chosen.weights), Policy.default(), chosen.rows)
    figures: Figures = {"encoder": bench.scorer.version, "policy": bench.policy.id, "rows_limit": chosen.rows}
    for name in chosen.only:
        figures[name] = PARTS[name](bench)
    print(readme.accuracy(figures))
    if set(chosen.only) == set(PARTS):
        print(f"\n{save('accuracy', figures)}")


if __name__ == "__main__":
    main()
