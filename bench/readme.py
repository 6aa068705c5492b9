"""The README's measured tables out of ``bench/figures.json``: ``python -m bench.readme README.md``.

``--take`` first puts what the benches measured last (``bench/out``) into ``bench/figures.json``. A table stands between
``<!-- bench:NAME -->`` and ``<!-- bench:end -->``; what is between them is never written by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import cache, language, score_stream, speed, stream
from bench.figures import kept, take
from bench.tables import percent, table

Figures = Mapping[str, Any]

MARKED = re.compile(r"(<!-- bench:(\w+) -->\n)(.*?)(<!-- bench:end -->)", re.DOTALL)

WANTED = {
    "mean_without_threat": "0.988",
    "jigsaw_eval": "0.977",
    "hatecheck": "0.88",
    "hatecheck_right": "88 / 70 / 82 %",
    "madlibs": "0.95",
    "calibration_error": "at most 0.05",
}
"""What we set out to reach."""


def _area(one: Figures, digits: int = 3) -> str:
    low, high = one["interval"]
    return f"{one['auc']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def accuracy(figures: Figures) -> str:
    """Return the accuracy tables, of the parts that were measured."""
    parts = (_main_rows, _other_rows, _fidelity_rows)
    rows = [row for part in parts for row in part(figures)]
    found = [table(["measure (95 % interval)", "measured", "goal"], rows)]
    if "hatecheck" in figures:
        kinds = sorted(figures["hatecheck"]["by_functionality"].items(), key=lambda pair: pair[1]["right"])
        lines = [[name, str(one["rows"]), percent(one["right"])] for name, one in kinds[:8]]
        found.append(table(["HateCheck, weakest kinds", "rows", "right"], lines))
    if "jigsaw_report" in figures:
        bins = figures["jigsaw_report"]["reliability"]
        lines = [[str(n), f"{said:.3f}", f"{true:.3f}"] for n, said, true in bins[-6:]]
        found.append(table(["rows (six highest of 15 bins)", "mean score", "share toxic"], lines))
    return "\n\n".join(found)


def _main_rows(figures: Figures) -> Iterable[Sequence[str]]:
    if "jigsaw_report" in figures:
        one = figures["jigsaw_report"]
        name = f"mean AUC of the Jigsaw labels without threat ({one['labels']['toxicity']['rows']:,} report rows)"
        yield name, _area(one["mean_without_threat"], 4), WANTED["mean_without_threat"]
        for label, found in one["labels"].items():
            yield f"... {label} ({found['positives']} positives)", _area(found, 4), "-"
        low, high = one["calibration_error_interval"]
        error = f"{one['calibration_error']:.3f} ({low:.3f} to {high:.3f})"
        yield "calibration error of toxicity, natural prevalence", error, WANTED["calibration_error"]
    if "jigsaw_eval" in figures:
        one = figures["jigsaw_eval"]
        yield f"AUC jigsaw_eval ({one['rows']:,} balanced rows)", _area(one, 4), WANTED["jigsaw_eval"]
    if "hatecheck" in figures:
        one = figures["hatecheck"]
        yield f"AUC HateCheck, identity_attack ({one['rows']:,})", _area(one), WANTED["hatecheck"]
        right = " / ".join(f"{100 * one[name]:.0f}" for name in ("right_hateful", "right_not_hateful", "right"))
        name = f"HateCheck right at {one['threshold']:g}, hateful / not / all"
        yield name, f"{right} %", WANTED["hatecheck_right"]
    if "madlibs" in figures:
        for name, one in figures["madlibs"]["worst"].items():
            title = {"subgroup": "subgroup AUC", "bpsn": "BPSN AUC", "bnsp": "BNSP AUC"}[name]
            count = len(figures["madlibs"]["terms"])
            yield (
                f"bias_madlibs {title}, worst of {count} terms",
                f"{one['auc']:.3f} ({one['term']})",
                WANTED["madlibs"],
            )


def _other_rows(figures: Figures) -> Iterable[Sequence[str]]:
    for name in ("hatemoji_build_test", "implicit_hate_eval", "context_toxicity"):
        if name in figures:
            one = figures[name]
            folds = f"; five folds {one['folds_mean']:.3f} ± {one['folds_sd']:.3f}" if "folds_mean" in one else ""
            yield f"AUC {name}, {one['label']} ({one['rows']:,}, {one['positives']:,} bad)", _area(one) + folds, "-"


def _fidelity_rows(figures: Figures) -> Iterable[Sequence[str]]:
    found = figures.get("fidelity", {})
    for name, one in found.items():
        if "cosine" in one:
            title = f"embedding against the original's, {name} ({one['texts']:,}): cosine, rank correlation of pairs"
            yield title, f"{one['cosine']:.3f}, {one['spearman']:.3f}", "-"
    if found:
        one = found["clinc150_intents"]
        title = f"clinc150 intents by {one['neighbours']} neighbours, original / ours"
        yield title, f"{percent(one['original'])} / {percent(one['ours'])}", "-"


def limit(value: float | None) -> str:
    """Return a threshold as it is written, "-" where the label has none.

    >>> limit(0.013), limit(None)
    ('0.013', '-')
    """
    return "-" if value is None else f"{value:g}"


def policy(figures: Figures) -> str:
    """Return what the shipped policy does: thresholds, clean texts, bad texts."""
    limits = figures["thresholds"]["in"]
    names = ("flag", "block", "quarantine")
    found = [table(["`in`", *names], [[label, *(limit(one[name]) for name in names)] for label, one in limits.items()])]
    for title, kind in (("clean texts", "clean"), ("bad texts", "bad"), ("the same sets' other half", "not_bad")):
        rows = [
            [f"{name} ({one['rows']:,})", *(percent(one[effect]) for effect in ("blocked", "flagged", "kept"))]
            for name, one in figures[kind].items()
        ]
        found.append(table([title, "blocked", "flagged or blocked", "kept from learning"], rows))
    return "\n\n".join(found)


def transforms(figures: Figures) -> str:
    """Return the bypass table, the very long texts and the look-alikes' false positives."""
    plain, worst, deep = figures["transforms"]["plain"]["ours"], figures["worst"], figures["deep"]
    lines = [
        [
            name,
            *(percent(share) for share in (plain["flagged"], one["raw"]["flagged"], one["ours"]["flagged"])),
            f"{one['raw']['auc']:.3f}",
            f"{one['ours']['auc']:.3f}",
        ]
        for name, one in figures["transforms"].items()
    ]
    head = ["disguise", "flagged plain", "hidden, raw model", "hidden, ours", "AUC raw", "AUC ours"]
    said = (
        f"{figures['rows']:,} rows, half of them toxic. Worst: {worst['name']}, AUC {worst['below_plain']:.3f} below "
        f"plain (goal: 0.02). In 20,000 benign tokens, of {deep['texts']} texts flagged alone are flagged at the begin "
        f"{percent(deep['begin'])}, in the middle {percent(deep['middle'])}, at the end {percent(deep['end'])}."
    )
    clean = [
        [f"{name} ({one['rows']:,})", percent(one["raw"]), percent(one["ours"]), f"{one['readings']:.3f}"]
        for name, one in figures["clean"].items()
    ]
    others = table(["clean texts", "flagged, raw model", "flagged, ours", "readings a unit"], clean)
    return "\n\n".join([said, table(head, lines), others])


def spans(figures: Figures) -> str:
    """Return what the spans of toxic_spans_trial are worth."""
    return (
        f"Of {figures['posts']} posts of toxic_spans_trial the characters found overlap with those people marked by "
        f"F1 {figures['f1']:.3f}; marking the whole text gives {figures['f1_whole_text']:.3f}."
    )


TABLES: dict[str, tuple[str, Callable[[Figures], str]]] = {
    "accuracy": ("accuracy", accuracy),
    "policy": ("thresholds", policy),
    "transforms": ("transforms", transforms),
    "spans": ("spans", spans),
    "speed": ("speed", speed.shown),
    "stream": ("stream", stream.shown),
    "cache": ("cache", cache.shown),
    "language": ("language", language.shown),
    "lines": ("score_stream", score_stream.shown),
}
"""Name of a marked place to the bench whose figures it shows, and how."""


def filled(text: str, figures: Figures) -> str:
    """Return the text with every marked table written anew; a table whose bench never ran stays as it is."""

    def write(match: re.Match[str]) -> str:
        begin, name, old, end = match.groups()
        if name not in TABLES:
            raise SystemExit(f"no table is called {name}; the README may name {', '.join(TABLES)}")
        bench, render = TABLES[name]
        return f"{begin}{render(figures[bench])}\n{end}" if bench in figures else f"{begin}{old}{end}"

    return MARKED.sub(write, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readme", type=Path)
    parser.add_argument("--take", action="store_true", help="take over what bench/out holds first")
    chosen = parser.parse_args()
    figures = take(tuple(bench for bench, _ in TABLES.values())) if chosen.take else kept()
    before = chosen.readme.read_text(encoding="utf-8")
    after = filled(before, figures)
    chosen.readme.write_text(after, encoding="utf-8")
    sys.stdout.write("changed\n" if before != after else "as it was\n")


if __name__ == "__main__":
    main()
