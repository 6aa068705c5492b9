"""How well spans point at what is toxic: ``python -m bench.spans ../shared/data``, character F1 on toxic_spans_trial.

The measure is the task's own (Pavlopoulos et al. 2021): the mean F1 over posts of the marked characters; a post in
which nobody marked anything counts 1 where we mark nothing and 0 else.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench.data import char_ranges, read
from filters.toxicity import ToxicityFilter
from filters.types import Item

AT = 0.5


def f1(marked: set[int], ours: set[int]) -> float:
    """Return the F1 of two sets of places.

    >>> f1({1, 2, 3}, {2, 3, 4}), f1(set(), set()), f1(set(), {1})
    (0.6666666666666666, 1.0, 0.0)
    """
    if not marked:
        return float(not ours)
    return 2 * len(marked & ours) / (len(marked) + len(ours))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("bench/out/spans.json"))
    chosen = parser.parse_args()
    scorer = ToxicityFilter()
    fine, coarse = [], []
    for row in read(chosen.data, "toxic_spans_trial"):
        marked = {place for start, end in char_ranges(row["spans"]) for place in range(start, end)}
        (scores,) = scorer.score_many([Item(row["text"])])
        spans = [span for span in scores.spans if span.label == "toxicity" and span.score >= AT]
        fine.append(f1(marked, {place for span in spans for place in range(span.start, span.end)}))
        coarse.append(f1(marked, set(range(len(row["text"]))) if spans else set()))
    figures = {"posts": len(fine), "f1": sum(fine) / len(fine), "f1_whole_text": sum(coarse) / len(coarse)}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"{figures['posts']} posts: F1 {figures['f1']:.3f}; marking the whole text: {figures['f1_whole_text']:.3f}")


if __name__ == "__main__":
    main()
