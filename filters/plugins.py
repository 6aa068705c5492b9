"""Filters by name, from the entry points ``tayguard.filters``."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from filters.errors import FilterError
from filters.types import Filter

GROUP = "tayguard.filters"


def known() -> tuple[str, ...]:
    """Return the names of the installed filters, sorted."""
    return tuple(sorted(point.name for point in entry_points(group=GROUP)))


def load(name: str) -> Filter:
    """Return a new filter of an installed plug-in, made without arguments.

    Raises
    ------
    FilterError
        No plug-in has this name, or what it gives is not a filter.
    """
    for point in entry_points(group=GROUP, name=name):
        factory: Callable[[], object] = point.load()
        made = factory()
        if isinstance(made, Filter):
            return made
        raise FilterError(f"the plug-in {name} gave a {type(made).__name__}, not a filter")
    raise FilterError(f"no filter is named {name!r:.80}; installed: {', '.join(known()) or 'none'}")
