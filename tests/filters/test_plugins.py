"""Filters by name from entry points."""

from importlib.metadata import EntryPoint

import pytest

from filters import plugins
from filters.errors import FilterError
from filters.types import Filter, Scores


class Plugin:
    name, version, labels = "mine", "1", ("red",)

    def score_many(self, items):
        return [Scores("mine", "1", {"red": 0.0}) for _ in items]


@pytest.fixture
def installed(monkeypatch):
    points = [
        EntryPoint("mine", f"{__name__}:Plugin", plugins.GROUP),
        EntryPoint("text", "builtins:str", plugins.GROUP),
    ]

    def entry_points(*, group, name=None):
        return [point for point in points if point.group == group and name in {None, point.name}]

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    monkeypatch.setattr(EntryPoint, "load", lambda point: {"mine": Plugin, "text": str}[point.name])


def test_an_installed_filter_is_made_by_its_name(installed):
    assert isinstance(plugins.load("mine"), Filter)
    assert plugins.known() == ("mine", "text")


def test_what_is_not_a_filter_is_refused(installed):
    with pytest.raises(FilterError, match="str"):
        plugins.load("text")


def test_an_unknown_name_lists_the_known_ones(installed):
    with pytest.raises(FilterError, match="mine, text"):
        plugins.load("mien")
