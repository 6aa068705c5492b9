"""Items in, scores out; a policy turns scores into verdicts. No network, no store, no clock.

``Guardian`` and ``ToxicityFilter`` are loaded when first named, so that importing a type never loads an ML library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filters.errors import FilterError, PolicyError, WeightsError
from filters.policy import Policy
from filters.types import Item, Scores, Verdict

if TYPE_CHECKING:
    from filters.guardian import Fold, Guardian, Judged, report
    from filters.toxicity import ToxicityFilter

__all__ = [
    "FilterError",
    "Fold",
    "Guardian",
    "Item",
    "Judged",
    "Policy",
    "PolicyError",
    "Scores",
    "ToxicityFilter",
    "Verdict",
    "WeightsError",
    "report",
]

_LAZY = {
    "Fold": "guardian",
    "Guardian": "guardian",
    "Judged": "guardian",
    "report": "guardian",
    "ToxicityFilter": "toxicity",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever the name stands for)
    if name not in _LAZY:
        raise AttributeError(f"module 'filters' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"filters.{_LAZY[name]}"), name)
