"""Versions in memory: loaded once, the one before stays, one that does not load is a problem and not a crash."""

import asyncio

import pytest

from guard.errors import UpstreamNotReadyError
from guard.resident import Resident
from learner.errors import CorruptError
from tests.fakes import ScriptedBot


class Shelf:
    """Loads versions; ``corrupt`` ones do not."""

    def __init__(self, *corrupt):
        self.corrupt = set(corrupt)
        self.loads = []
        self.now = 0.0

    def load(self, version):
        self.loads.append(version)
        if version in self.corrupt:
            raise CorruptError(f"{version} does not match its hash")
        return ScriptedBot(version=version)

    def resident(self):
        return Resident(self.load, monotonic=lambda: self.now)


def test_a_version_is_loaded_once_however_many_ask_for_it():
    shelf = Shelf()
    resident = shelf.resident()

    async def run():
        return await asyncio.gather(*(resident.answerer("v1") for _ in range(5)))

    assert len({id(answerer) for answerer in asyncio.run(run())}) == 1
    assert shelf.loads == ["v1"]


def test_the_previous_version_stays_resident_and_older_ones_go():
    shelf = Shelf()
    resident = shelf.resident()

    async def run():
        for live, previous in (("v1", "factory"), ("v2", "v1"), ("v1", "v2")):
            await resident.follow(live, previous)

    asyncio.run(run())
    assert sorted(resident.versions) == ["v1", "v2"]
    assert shelf.loads == ["v1", "factory", "v2"]


def test_a_version_that_does_not_load_says_what_to_do_and_keeps_what_answers():
    shelf = Shelf("v2")
    resident = shelf.resident()

    async def run():
        await resident.follow("v1", "factory")
        await resident.follow("v2", "v1")
        with pytest.raises(UpstreamNotReadyError, match="roll back"):
            await resident.answerer("v2")

    asyncio.run(run())
    assert "does not load" in resident.problem("v2")
    assert {"v1", "factory"} == set(resident.versions)
    assert shelf.loads.count("v2") == 1


def test_a_version_that_did_not_load_is_tried_again_later():
    shelf = Shelf("v2")
    resident = shelf.resident()

    async def run():
        await resident.follow("v2", "v2")
        shelf.corrupt.clear()
        shelf.now = 6.0
        return (await resident.answerer("v2")).version

    assert asyncio.run(run()) == "v2"
    assert resident.problem("v2") == ""
