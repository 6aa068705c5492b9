"""Texts are scored unit by unit, each within its own deadline; one that nobody waits for any more stops nobody."""

import asyncio
import threading
import time

import pytest

from filters import Guardian, Item
from filters.units import chains, split
from guard.dialects.types import Delta, Finish, Piece
from guard.errors import TooLargeError
from guard.hold import HeldChoice
from guard.judging import Judge
from guard.metrics import Metrics
from guard.scoring import Scoring, ScoringLimits
from guard.turns import ScoredText
from tests.fakes import PacedFilter, WordFilter
from tests.guarding import POLICY, until

SENTENCE = "All is fine here. "
LONG = SENTENCE * 60


@pytest.fixture
def judge_of():
    """Make judges over one scoring thread, and end their threads."""

    def make(filter_, **limits):
        scoring = Scoring(ScoringLimits(**{"timeout_s": 0.5, **limits}), Metrics(), time.monotonic)
        made.append(scoring)
        return Judge(Guardian([filter_], POLICY), POLICY, scoring)

    made = []
    yield make
    for scoring in made:
        scoring.stop()


def prompt(judge, text):
    return judge.prompt([ScoredText(text, (0,))], Item(""))


async def said(judge, pieces):
    held = HeldChoice(judge, Item("", "out"), 0, "en")
    events = [event for piece in pieces for event in await held.take(piece)]
    return held, events


def test_a_long_text_gets_one_verdict_as_a_prompt_as_a_whole_reply_and_as_a_stream(judge_of):
    judge = judge_of(PacedFilter(0.015))

    async def run():
        streamed = [*(Piece(text=SENTENCE) for _ in range(60)), Piece(finish="stop")]
        replies = [await said(judge, [Piece(text=LONG, finish="stop")]), await said(judge, streamed)]
        return [await prompt(judge, LONG), *(held.judgement for held, _ in replies)]

    assert [one.verdict.serve for one in asyncio.run(run())] == ["allow"] * 3


def test_prompts_that_nobody_waits_for_leave_scoring_to_others(judge_of):
    filter_ = PacedFilter(0.01)
    judge = judge_of(filter_)

    async def run():
        left = [asyncio.ensure_future(prompt(judge, LONG)) for _ in range(4)]
        await asyncio.to_thread(until, lambda: filter_.asked)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        asked = len(filter_.asked)
        return asked, [await prompt(judge, "Hello there.") for _ in range(6)], len(filter_.asked)

    before, judged, after = asyncio.run(run())
    assert [one.verdict.serve for one in judged] == ["allow"] * 6
    assert after - before <= 6 + max(len(chain) for chain in chains(split(LONG, len)))
    assert judge.scoring._threads.lost == 0
    assert not judge.scoring.breaker.is_open


def test_a_short_prompt_is_scored_between_the_units_of_a_long_one(judge_of):
    judge = judge_of(PacedFilter(0.01))

    async def run():
        long = asyncio.ensure_future(prompt(judge, LONG))
        await prompt(judge, "Hello there.")
        done = long.done()
        return done, (await long).verdict.serve

    assert asyncio.run(run()) == (False, "allow")


def test_work_that_only_waited_is_no_failure_of_a_filter(judge_of):
    judge, go_on = judge_of(WordFilter(), timeout_s=0.05, breaker_failures=2), threading.Event()

    async def run():
        judge.scoring._threads.submit(go_on.wait)
        waited = [await prompt(judge, "Hello.") for _ in range(3)]
        go_on.set()
        return waited, await prompt(judge, "Hello.")

    waited, after = asyncio.run(run())
    assert [one.scores[-1].error.split(":")[0] for one in waited] == ["waited"] * 3
    assert (after.verdict.serve, judge.scoring._threads.lost) == ("allow", 0)


def test_a_prompt_of_too_many_units_is_refused_before_any_is_scored(judge_of):
    words = WordFilter()
    with pytest.raises(TooLargeError, match="60 sentences, at most 59"):
        asyncio.run(prompt(judge_of(words, max_units=59), LONG.strip()))
    assert words.asked == []


@pytest.mark.parametrize("size", [1, 60])
def test_a_reply_of_too_many_units_is_cut_at_the_same_place_streamed_or_not(judge_of, size):
    judge = judge_of(WordFilter(), max_units=20)
    pieces = [Piece(text=SENTENCE * size) for _ in range(60 // size)]
    held, events = asyncio.run(said(judge, [*pieces, Piece(finish="stop")]))
    text = "".join(event.text for event in events if isinstance(event, Delta))
    assert text.strip() == (SENTENCE * 20).strip()
    assert events[-1] == Finish(0, "content_filter", "UNSCORED")
    assert held.judgement.verdict.serve == "unscored"


def test_what_was_judged_before_a_filter_hung_still_counts(judge_of):
    words = WordFilter()
    judge = judge_of(words, timeout_s=0.1)
    score_many = words.score_many

    def hang_later(items):
        words.broken = "hang" if words.asked else ""
        return score_many(items)

    words.score_many = hang_later
    judged = asyncio.run(prompt(judge, "A bad word. " + LONG))
    words.let_go.set()
    assert judged.verdict.serve == "block"
    assert judged.broken


def test_a_long_reply_leaves_unit_by_unit_unchanged(judge_of):
    judge = judge_of(WordFilter())
    held, events = asyncio.run(said(judge, [Piece(text=LONG, finish="stop")]))
    assert [event.text for event in events[:-1]] == [SENTENCE.strip(), *[" " + SENTENCE.strip()] * 59, " "]
    assert held.heard == LONG
