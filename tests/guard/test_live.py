"""Whoever follows the store goes on whatever happens, and readiness says what is wrong."""

import asyncio
import logging
import time

import httpx
import pytest

from guard.metrics import Metrics
from guard.recording import Recorder
from guard.resident import Resident
from guard.upstream import EmbeddedUpstream
from learner.store import AsyncStore
from tests.guarding import now_ms, serving, until


def problems(guard):
    return httpx.get(f"{guard.url}/readyz").json()["problems"]


@pytest.mark.parametrize("failure", [PermissionError("read-only"), RuntimeError("unforeseen")])
def test_whoever_follows_the_store_survives_anything_and_readiness_says_why(redis_url, bot_keys, failure, caplog):
    with serving(redis_url, bot_keys) as guard:
        recorder = guard.running.recorder
        sweep = recorder.sweep

        async def fail():
            raise failure

        recorder.sweep = fail
        until(lambda: type(failure).__name__ in problems(guard).get("poll", ""))
        recorder.sweep = sweep
        until(lambda: not problems(guard))
        assert guard.running.live.age_s < 1.0
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(logged) == 1
    assert logged[0].exc_info[0] is type(failure)


def test_a_version_that_fails_to_load_in_an_unforeseen_way_is_named_by_readiness(redis_url, bot_keys):
    def load(version):
        raise RuntimeError(version)

    upstream = EmbeddedUpstream("tay", Resident(load, monotonic=time.monotonic))
    with serving(redis_url, bot_keys, upstream=upstream) as guard:
        until(lambda: "RuntimeError" in problems(guard).get("poll", ""))


def test_a_note_that_cannot_be_removed_stops_no_other(redis_url, bot_keys, tmp_path, caplog):
    (tmp_path / "req_a").mkdir()  # a folder cannot be unlinked
    (tmp_path / "req_b").touch()

    async def sweep_twice():
        store = AsyncStore(redis_url)
        recorder = Recorder(store, bot_keys, folder=tmp_path, clock=now_ms, metrics=Metrics())
        try:
            return [await recorder.sweep() for _ in range(2)]
        finally:
            await store.close()

    assert asyncio.run(sweep_twice()) == [2, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["req_a"]
    assert len([record for record in caplog.records if "could not be removed" in record.message]) == 1


def test_however_many_ask_whether_it_is_ready_it_is_checked_once_at_a_time(redis_url, bot_keys):
    with serving(redis_url, bot_keys) as guard:
        health = guard.running.health
        check, checks = health._check, []

        async def slow():
            checks.append(time.monotonic())
            await asyncio.sleep(0.1)
            return await check()

        health._check = slow
        health._checked_at = float("-inf")

        async def ask():
            async with httpx.AsyncClient() as client:
                return await asyncio.gather(*[client.get(f"{guard.url}/readyz") for _ in range(20)])

        assert {answer.status_code for answer in asyncio.run(ask())} == {200}
        assert len(checks) == 1
