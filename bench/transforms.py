"""How well hidden abuse is found: ``python -m bench.transforms ../shared/data``; prints Markdown tables.

Every transform is applied to rows of both classes. "raw" is the model over units without :mod:`filters.normalise`,
"ours" is the guard as shipped. Develop with ``--rows jigsaw_train`` (rows for training); jigsaw_eval only measures.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data import jigsaw, read
from bench.train_heads import auc
from bench.transforms_texts import LOOK_ALIKES, TRANSFORMS
from filters.guardian import Guardian
from filters.normalise import Normaliser, Variant
from filters.toxicity import ToxicityFilter
from filters.types import Item, Scores

SEED = 3
ROWS = 300
LONGEST = 300  # characters of a row unless all are asked for: hidden texts have up to ten times as many tokens
CLEAN_ROWS = 1_500


@dataclass(frozen=True, slots=True)
class Figures:
    """What one way of scoring gives on rows of both classes."""

    auc: float
    flagged: float
    quarantined: float
    false_flags: float
    false_quarantines: float


class Nothing(Normaliser):
    """No variants."""

    def variants(self, text: str, context: str = "") -> tuple[Variant, ...]:  # noqa: ARG002
        """Return none."""
        return ()


class Remembering(ToxicityFilter):
    """The shipped filter, which looks at a unit in its context once only; ``passes`` counts."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0
        self._found: dict[tuple[str, str], Scores] = {}

    def score_many(self, items: Sequence[Item]) -> list[Scores]:
        """Return one :class:`Scores` per item."""
        return [self._once(item) for item in items]

    def _once(self, item: Item) -> Scores:
        self.passes += 1
        key = (item.text, item.context)
        if key not in self._found:
            self._found[key] = super().score_many([item])[0]
        return self._found[key]

    def forget(self) -> None:
        """Drop what was remembered."""
        self._found.clear()


class Scorer:
    """Texts to scores with and without the variants, and how many encoder passes that took."""

    def __init__(self) -> None:
        self.filter = Remembering()
        self.guardian = Guardian([self.filter])
        self._plain = Guardian([self.filter], normaliser=Nothing())

    def raw(self, texts: Sequence[str]) -> list[Scores]:
        """Return the model's scores over units, nothing undone."""
        return self._scores(self._plain, texts)

    def ours(self, texts: Sequence[str]) -> list[Scores]:
        """Return the guard's scores."""
        return self._scores(self.guardian, texts)

    def _scores(self, guardian: Guardian, texts: Sequence[str]) -> list[Scores]:
        return [guardian.judge(Item(text))[0][self.filter.name] for text in texts]

    def verdicts(self, scores: Sequence[Scores]) -> tuple[np.ndarray, np.ndarray]:
        """Return which texts are flagged or worse, and which are kept from learning."""
        found = [self.guardian.policy.decide([one], "in") for one in scores]
        return np.array([v.serve != "allow" for v in found]), np.array([v.learn != "hold" for v in found])

    def figures(self, scores: Sequence[Scores], toxic: np.ndarray) -> Figures:
        """Return the area under the curve of ``toxicity`` and the shares at the policy's thresholds."""
        flagged, kept = self.verdicts(scores)
        area = auc(np.array([one.values["toxicity"] for one in scores]), toxic.astype(float))
        return Figures(area, flagged[toxic].mean(), kept[toxic].mean(), flagged[~toxic].mean(), kept[~toxic].mean())


def sample(data: Path, name: str, rows: int) -> tuple[list[str], np.ndarray]:
    """Return texts and whether they are toxic, half and half; all rows of any length where ``rows`` is 0."""
    if name == "jigsaw_train":
        found = [(row.text, row.labels[0] == 1.0) for row in jigsaw(data, report=False)]
    else:
        found = [(row["comment_text"], row["toxic"] in {"1", "1.0"}) for row in read(data, name)]
    if rows:
        dice = random.Random(SEED)
        found = [one for one in found if len(one[0]) <= LONGEST]
        dice.shuffle(found)
        found = [one for kind in (True, False) for one in [one for one in found if one[1] == kind][: rows // 2]]
    return [text for text, _ in found], np.array([toxic for _, toxic in found])


def transformed(name: str, texts: Sequence[str]) -> list[str]:
    """Return each text transformed, by dice of its own, so that a row does not depend on the rows before it."""
    return [TRANSFORMS[name](text, random.Random(f"{SEED} {name} {i}")) for i, text in enumerate(texts)]


def table(scorer: Scorer, texts: Sequence[str], toxic: np.ndarray, only: Sequence[str]) -> None:
    """Print plain and each transform, raw and ours."""
    print("| texts | AUC raw | ours | flagged raw | ours | kept from learning raw | ours | clean flagged raw | ours |")
    print("|---|---|---|---|---|---|---|---|---|")
    worst, plain = 1.0, 0.0
    for name in ["plain", *only]:
        hidden = list(texts) if name == "plain" else transformed(name, texts)
        scorer.filter.forget()
        raw = scorer.figures(scorer.raw(hidden), toxic)
        ours = scorer.figures(scorer.ours(hidden), toxic)
        if name == "plain":
            plain = ours.auc
        worst = min(worst, ours.auc)
        print(
            f"| {name} | {raw.auc:.3f} | {ours.auc:.3f} | {raw.flagged:.0%} | {ours.flagged:.0%} "
            f"| {raw.quarantined:.0%} | {ours.quarantined:.0%} | {raw.false_flags:.0%} | {ours.false_flags:.0%} |",
            flush=True,
        )
    print(f"\nWorst transform: AUC {worst:.3f}, {plain - worst:.3f} below plain.\n")


def clean(scorer: Scorer, data: Path, rows: int) -> None:
    """Print false positives and encoder passes on clean chat and on lines that look hidden."""
    dice = random.Random(SEED)
    chat = [row["message"] for row in read(data, "topical_chat_valid_freq")]
    print("| clean texts | rows | flagged raw | ours | kept from learning raw | ours | passes ours / raw |")
    print("|---|---|---|---|---|---|---|")
    for name, texts in (("topical_chat_valid_freq", dice.sample(chat, rows)), ("look-alikes", LOOK_ALIKES)):
        shares, passes = [], []
        for score in (scorer.raw, scorer.ours):
            scorer.filter.passes = 0
            flagged, kept = scorer.verdicts(score(texts))
            shares.append((flagged.mean(), kept.mean()))
            passes.append(scorer.filter.passes)
        (raw_flagged, raw_kept), (flagged, kept) = shares
        print(
            f"| {name} | {len(texts)} | {raw_flagged:.2%} | {flagged:.2%} | {raw_kept:.2%} | {kept:.2%} "
            f"| {passes[1] / passes[0]:.3f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--rows", default="jigsaw_eval", help="jigsaw_eval (default) or jigsaw_train")
    parser.add_argument("--count", type=int, default=ROWS, help="rows in all; 0 takes every one, of any length")
    parser.add_argument("--clean", type=int, default=CLEAN_ROWS, help="rows of clean chat")
    parser.add_argument("--only", nargs="*", default=list(TRANSFORMS), help="transforms by name")
    chosen = parser.parse_args()
    scorer = Scorer()
    texts, toxic = sample(chosen.data, chosen.rows, chosen.count)
    print(f"{chosen.rows}: {len(texts)} rows, {int(toxic.sum())} toxic, seed {SEED}\n", file=sys.stderr)
    table(scorer, texts, toxic, chosen.only)
    clean(scorer, chosen.data, chosen.clean)


if __name__ == "__main__":
    main()
