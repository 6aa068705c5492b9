"""Dialects of your own, from the entry points ``tayguard.dialects``: routes in front of the same proxy."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from fastapi import APIRouter

from guard.dialects.openai_chat import Limits
from guard.proxy import Proxy
from guard.settings import ConfigurationError

GROUP = "tayguard.dialects"
Routes = Callable[[Proxy, Limits], APIRouter]
"""What an entry point names; :func:`guard.bot_routes.rasa_router` is one."""


def load(name: str) -> Routes:
    """Return what makes the routes of an installed dialect.

    Raises
    ------
    ConfigurationError
        No package that is installed has this dialect, or, when it makes its routes, they are none.
    """
    for point in entry_points(group=GROUP, name=name):
        return _checked(name, point.load())
    known = ", ".join(sorted(point.name for point in entry_points(group=GROUP)))
    raise ConfigurationError(f"server.dialects: no dialect is named {name!r:.80}; installed: {known or 'none'}")


def _checked(name: str, make: Callable[[Proxy, Limits], object]) -> Routes:
    def routes(proxy: Proxy, limits: Limits) -> APIRouter:
        made = make(proxy, limits)
        if not isinstance(made, APIRouter):
            raise ConfigurationError(
                f"server.dialects: {name} gave a {type(made).__name__}; it must give a fastapi.APIRouter"
            )
        return made

    return routes
