"""How well hidden abuse is found: ``python -m bench.transforms ../shared/data``.

Every transform is applied to every row of both classes, by dice of its own. "raw" is the model over units without
:mod:`filters.normalise`, "ours" the guard as shipped, at the shipped policy's thresholds. Develop with ``--set
jigsaw_train`` (rows for training); jigsaw_eval only measures. Prints the tables, writes ``bench/out/transforms.json``.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import readme
from bench.data import jigsaw, read
from bench.figures import save
from bench.hiding_places import PLACES, buried
from bench.look_alikes import made
from bench.metrics import auc
from bench.scored import Bools, Found, Scorer
from bench.transforms_texts import LOOK_ALIKES, TRANSFORMS
from filters.models.source import FOLDER
from filters.policy import Policy

SEED = 3
ROWS = 200
LONGEST = 300  # characters of a row unless all are asked for: hidden texts have up to ten times as many tokens
CLEAN_ROWS = 1_000
MADE = 60  # look-alikes of a kind
BURIED = 8  # toxic texts in 20,000 tokens each
DEPTHS = {"begin": 0.0, "middle": 0.5, "end": 1.0}
WAYS = {**TRANSFORMS, **PLACES}

Figures = dict[str, Any]


def sample(data: Path, name: str, rows: int) -> tuple[list[str], Bools]:
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
    return [WAYS[name](text, random.Random(f"{SEED} {name} {at}")) for at, text in enumerate(texts)]


def measured(found: Found, toxic: Bools, policy: Policy) -> dict[str, float]:
    """Return the area under the curve of ``toxicity`` and the shares at the policy's thresholds, by class."""
    bad, clean = found.where(toxic).shares(policy), found.where(~toxic).shares(policy)
    return {
        "auc": round(auc(found.of("toxicity"), toxic.astype(np.float64)), 4),
        "flagged": bad["flagged"],
        "kept": bad["kept"],
        "unscored": bad["unscored"],
        "clean_flagged": clean["flagged"],
    }


def bypasses(scorer: Scorer, policy: Policy, texts: Sequence[str], toxic: Bools, names: Sequence[str]) -> Figures:
    """Return plain and each transform, raw and ours."""
    hidden = {"plain": list(texts), **{name: transformed(name, texts) for name in names}}
    whole = [text for each in hidden.values() for text in each]
    ours, raw = scorer.ours(whole), scorer.raw(whole)
    figures, first = {}, 0
    for name, each in hidden.items():
        rows = np.arange(first, first + len(each))
        first += len(each)
        pair = (("raw", raw), ("ours", ours))
        figures[name] = {way: measured(found.where(rows), toxic, policy) for way, found in pair}
    return figures


def clean(scorer: Scorer, policy: Policy, data: Path, rows: int) -> Figures:
    """Return false positives and readings on clean chat and on lines that look hidden."""
    chat = [row["message"] for row in read(data, "topical_chat_valid_rare")]
    sets = {
        "topical_chat_valid_rare": random.Random(SEED).sample(chat, rows),
        "look-alikes, written": list(LOOK_ALIKES),
        "look-alikes, made": made(MADE, SEED),
    }
    figures = {}
    for name, texts in sets.items():
        ours, raw = scorer.ours(texts), scorer.raw(texts)
        figures[name] = {
            "rows": len(texts),
            "raw": raw.shares(policy)["flagged"],
            "ours": ours.shares(policy)["flagged"],
            "kept_raw": raw.shares(policy)["kept"],
            "kept_ours": ours.shares(policy)["kept"],
            "readings": round(float(ours.readings.sum() / ours.units.sum()), 4),
        }
    return figures


def deep(scorer: Scorer, policy: Policy, texts: Sequence[str], toxic: Bools) -> Figures:
    """Return how many texts flagged alone are still flagged at each place of 20,000 benign tokens."""
    flagged = [one.serve in {"flag", "block"} for one in scorer.ours(texts).verdicts(policy)]
    chosen = [text for text, bad, found in zip(texts, toxic, flagged, strict=True) if bad and found][:BURIED]
    figures: Figures = {"texts": len(chosen)}
    for name, at in DEPTHS.items():
        figures[name] = scorer.ours([buried(text, at) for text in chosen]).shares(policy)["flagged"]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--set", default="jigsaw_eval", choices=("jigsaw_eval", "jigsaw_train"))
    parser.add_argument("--rows", type=int, default=ROWS, help="rows in all; 0 takes every one, of any length")
    parser.add_argument("--clean", type=int, default=CLEAN_ROWS, help="rows of clean chat")
    parser.add_argument("--only", nargs="*", default=list(WAYS), choices=WAYS, help="transforms; writes no file")
    parser.add_argument("--weights", type=Path, default=FOLDER, help="folder of another encoder.onnx")
    chosen = parser.parse_args()
    scorer, policy = Scorer(chosen.weights), Policy.default()
    texts, toxic = sample(chosen.data, chosen.set, chosen.rows)
    figures: Figures = {"encoder": scorer.version, "policy": policy.id, "set": chosen.set, "rows": len(texts)}
    table = bypasses(scorer, policy, texts, toxic, chosen.only)
    name = min(table, key=lambda one: table[one]["ours"]["auc"])
    below = round(table["plain"]["ours"]["auc"] - table[name]["ours"]["auc"], 4)
    figures |= {"transforms": table, "worst": {"name": name, "below_plain": below}}
    figures |= {"deep": deep(scorer, policy, texts, toxic), "clean": clean(scorer, policy, chosen.data, chosen.clean)}
    print(readme.transforms(figures))
    if set(chosen.only) == set(WAYS) and chosen.set == "jigsaw_eval":
        print(f"\n{save('transforms', figures)}")


if __name__ == "__main__":
    main()
