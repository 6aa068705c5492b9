"""Hold-back: what leaves, when, and what never does."""

import asyncio
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import Guardian, Item
from guard.dialects.types import Delta, Finish, Piece
from guard.hold import HeldChoice
from guard.judging import Judge
from guard.metrics import Metrics
from guard.scoring import Scoring, ScoringLimits
from tests.fakes import WordFilter
from tests.guarding import POLICY

TEXT = "All is fine here. It still is! Now something bad comes. And then fine again, for ever."
SAFE = "All is fine here. It still is!"


@pytest.fixture(scope="module")
def scoring():
    scoring = Scoring(ScoringLimits(timeout_s=10), Metrics(), time.monotonic)
    yield scoring
    scoring.stop()


def judge_of(scoring, filter_=None):
    return Judge(Guardian([filter_ or WordFilter()], POLICY), POLICY, scoring)


def play(judge, pieces):
    """Return the choice and, piece by piece, the events that left."""

    async def run():
        held = HeldChoice(judge, Item("", "out", "hello"), 0, "en")
        return held, [await held.take(piece) for piece in pieces]

    return asyncio.run(run())


def text_out(events):
    return "".join(event.text for step in events for event in step if isinstance(event, Delta))


def cut_at(text, cuts):
    edges = [0, *sorted(cuts), len(text)]
    return [Piece(text=text[a:b]) for a, b in pairwise(edges)] + [Piece(finish="stop")]


@given(cuts=st.lists(st.integers(0, len(TEXT)), max_size=30))
@settings(max_examples=40, deadline=None)
def test_however_a_bad_text_is_split_nothing_leaves_from_the_first_bad_unit_on(scoring, cuts):
    held, events = play(judge_of(scoring), cut_at(TEXT, cuts))
    whole, _ = play(judge_of(scoring), cut_at(TEXT, []))
    assert text_out(events).rstrip() == SAFE
    assert held.finish == "content_filter"
    assert held.judgement.verdict.serve == whole.judgement.verdict.serve == "block"


@given(cuts=st.lists(st.integers(0, len(SAFE)), max_size=30))
@settings(max_examples=20, deadline=None)
def test_however_a_good_text_is_split_all_of_it_leaves_unchanged(scoring, cuts):
    held, events = play(judge_of(scoring), cut_at(SAFE, cuts))
    assert text_out(events) == SAFE
    assert (held.finish, held.judgement.verdict.serve) == ("stop", "allow")


def test_a_first_safe_unit_leaves_as_soon_as_it_is_closed(scoring):
    _, events = play(judge_of(scoring), [Piece(text="One is here. "), Piece(text="Two "), Piece(finish="stop")])
    assert text_out(events[:1]).strip() == "One is here."
    assert text_out(events) == "One is here. Two "


def test_the_policys_message_goes_with_the_cut(scoring):
    _, events = play(judge_of(scoring), [Piece(text="bad word. "), Piece(text="more"), Piece(finish="stop")])
    assert events[0] == [Finish(0, "content_filter", "BLOCKED")]
    assert events[1:] == [[], []]


def tool(arguments="", name="", index=0):
    return {"index": index, "id": "call_1", "function": {"name": name, "arguments": arguments}}


def test_a_tool_call_is_held_until_it_is_whole(scoring):
    pieces = [Piece(tools=(tool('{"q": ', "look"),)), Piece(tools=(tool('"fine"}'),)), Piece(finish="tool_calls")]
    _, events = play(judge_of(scoring), pieces)
    assert events[:2] == [[], []]
    (delta, finish) = events[2]
    assert delta.tools[0]["function"] == {"name": "look", "arguments": '{"q": "fine"}'}
    assert finish.reason == "tool_calls"


@pytest.mark.parametrize("pieces", [('{"q": "bad"}', ""), ('{"q": "b', 'ad"}')])
def test_a_tool_call_with_bad_arguments_never_leaves(scoring, pieces):
    tools = [Piece(tools=(tool(arguments, "look"),)) for arguments in pieces]
    held, events = play(judge_of(scoring), [*tools, Piece(finish="tool_calls")])
    assert held.finish == "content_filter"
    assert not any(isinstance(event, Delta) for step in events for event in step)


def test_a_refusal_is_judged_before_it_leaves(scoring):
    _, good = play(judge_of(scoring), [Piece(refusal="I would "), Piece(refusal="rather not."), Piece(finish="stop")])
    held, _ = play(judge_of(scoring), [Piece(refusal="bad"), Piece(finish="stop")])
    assert good[2][0].refusal == "I would rather not."
    assert held.finish == "content_filter"


@pytest.mark.parametrize("broken", ["raise", "nan", "partial"])
def test_a_broken_filter_releases_nothing_and_says_unscored(scoring, broken):
    held, events = play(judge_of(scoring, WordFilter(broken)), cut_at("All is fine. Really.", []))
    assert text_out(events) == ""
    assert events[0][-1].message == "UNSCORED"
    assert held.judgement.verdict.serve == "unscored"


def test_a_filter_that_hangs_in_mid_reply_releases_nothing_more():
    words = WordFilter()
    scoring = Scoring(ScoringLimits(timeout_s=0.2), Metrics(), time.monotonic)

    async def run():
        held = HeldChoice(judge_of(scoring, words), Item("", "out"), 0, "en")
        first = await held.take(Piece(text="One is here. "))
        words.broken = "hang"
        return first, await held.take(Piece(text="Two is here. "))

    first, second = asyncio.run(run())
    words.let_go.set()
    scoring.stop()
    assert text_out([first]).strip() == "One is here."
    assert second == [Finish(0, "content_filter", "UNSCORED")]
