"""Does naming a group count as abuse? Subgroup AUC, BPSN and BNSP (Borkan et al. 2019) over identity templates."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from bench.metrics import Array, auc

TERMS = (
    "african", "african american", "american", "asian", "bisexual", "black", "blind", "buddhist", "canadian",
    "catholic", "chinese", "christian", "deaf", "elderly", "european", "female", "gay", "heterosexual", "hispanic",
    "homosexual", "indian", "japanese", "jewish", "latina", "latino", "latinx", "lesbian", "lgbt", "lgbtq", "male",
    "mexican", "middle aged", "middle eastern", "millenial", "muslim", "nonbinary", "old", "older", "paralyzed",
    "protestant", "queer", "sikh", "straight", "taoist", "teenage", "trans", "transgender", "white", "young", "younger",
)  # fmt: skip
"""What the templates of bias_madlibs_eval are filled with, as they spell it; read off its ``name_adj`` rows."""

LEAST_ROWS = 100

_TERM = re.compile(rf"\b({'|'.join(sorted(TERMS, key=len, reverse=True))})\b")


def term_of(text: str) -> str:
    """Return the group that a filled template names, or an empty text.

    >>> term_of("Being African American is fine.")
    'african american'
    """
    found = _TERM.findall(text.lower())
    return found[-1] if found else ""


def bias(texts: Sequence[str], scores: Array, truth: Array, least: int = LEAST_ROWS) -> dict[str, dict[str, float]]:
    """Return rows, subgroup AUC, BPSN and BNSP of each term with at least ``least`` rows.

    BPSN sets the subgroup's clean rows against the others' toxic ones, BNSP its toxic rows against the others' clean.
    """
    named = np.array([term_of(text) for text in texts])
    table = {}
    for term in TERMS:
        inside = named == term
        if inside.sum() < least:
            continue
        positive = truth == 1
        crossed = {"bpsn": np.where(inside, ~positive, positive), "bnsp": np.where(inside, positive, ~positive)}
        areas = {name: auc(scores[chosen], truth[chosen]) for name, chosen in crossed.items()}
        table[term] = {"rows": int(inside.sum()), "subgroup": auc(scores[inside], truth[inside]), **areas}
    return table


def worst(table: dict[str, dict[str, float]]) -> dict[str, tuple[str, float]]:
    """Return the worst term of each measure with its value; a small sample may have none."""
    found = {}
    for name in ("subgroup", "bpsn", "bnsp"):
        known = [term for term in table if not np.isnan(table[term][name])]
        if known:
            term = min(known, key=lambda one: table[one][name])
            found[name] = (term, table[term][name])
    return found
