"""Deadlines that abandon, a bounded queue, a breaker."""

import asyncio
import threading
import time

import pytest

from filters.types import Scores
from guard.errors import OverloadedError
from guard.metrics import Metrics
from guard.scoring import Breaker, NotScoredError, Scoring, ScoringLimits, Threads, merged


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def stuck():
    event = threading.Event()
    yield event
    event.set()


def scoring_of(**limits):
    return Scoring(ScoringLimits(**{"timeout_s": 0.05, **limits}), Metrics(), time.monotonic)


async def outcome(scoring, work):
    try:
        return await scoring.run(work)
    except NotScoredError as exc:
        return exc.kind


def test_a_hung_filter_is_abandoned_at_its_deadline_and_its_thread_is_replaced(stuck):
    async def run():
        scoring = scoring_of()
        started = time.monotonic()
        late = await outcome(scoring, stuck.wait)
        after = await outcome(scoring, lambda: "scored")
        scoring.stop()
        return late, after, time.monotonic() - started

    late, after, took = asyncio.run(run())
    assert (late, after) == ("timeout", "scored")
    assert took < 5


def test_work_that_waited_too_long_is_never_started(stuck):
    began = []
    threads = Threads(1)
    threads.submit(stuck.wait)
    waiting, future = threads.submit(lambda: began.append(1))
    threads.abandon(waiting)
    stuck.set()
    _, done = threads.submit(lambda: "done")
    assert done.result(5) == "done"
    assert (began, future.cancelled()) == ([], True)
    threads.stop()


def test_threads_that_all_hang_open_the_breaker_instead_of_exhausting_the_pool(stuck):
    async def run():
        scoring = scoring_of(threads=1, breaker_failures=100)
        return [await outcome(scoring, stuck.wait) for _ in range(4)], threading.active_count()

    before = threading.active_count()
    kinds, threads = asyncio.run(run())
    assert kinds == ["timeout", "timeout", "breaker", "breaker"]
    assert threads - before <= 4


def test_a_full_queue_refuses_a_new_request_with_a_hint_when_to_come_back(stuck):
    async def run():
        scoring = scoring_of(queue=1, timeout_s=0.3)
        waiting = [asyncio.ensure_future(outcome(scoring, stuck.wait)) for _ in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(OverloadedError) as refused:
            scoring.check_queue()
        await asyncio.gather(*waiting)
        return refused.value.retry_after

    assert asyncio.run(run()) == "1"


def test_the_breaker_opens_after_failures_in_a_row_and_lets_one_trial_through_later():
    clock = Clock()
    breaker = Breaker(2, 5.0, clock)
    breaker.failed()
    assert breaker.admit()
    breaker.failed()
    assert not breaker.admit()
    clock.now = 5.0
    assert breaker.admit()
    assert not breaker.admit()
    breaker.succeeded()
    assert breaker.admit()


def test_the_worst_of_several_texts_counts():
    good, bad = Scores("f", "1", {"a": 0.1, "b": 0.5}), Scores("f", "1", {"a": 0.7}, coverage=0.5, error="cut")
    (one,) = merged([[good], [bad]])
    assert (one.values, one.coverage, one.error) == ({"a": 0.7, "b": 0.5}, 0.5, "cut")
