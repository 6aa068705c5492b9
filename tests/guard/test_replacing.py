"""Words that the policy replaces: in prompts before the bot gets them, now and in later turns, and in replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filters import Guardian, Policy
from filters.types import Item, Scores, Span
from guard.upstream_http import HttpUpstream
from learner.texts import open_text
from tests.fakes import ScriptedBot, UpstreamServer, WordFilter
from tests.guarding import POLICY, Guarded, chunks_of, embedded, serving, text_of

WORD = "iffy"
RED = replace(POLICY.thresholds["in"]["red"], flag=0.5, replace=0.6)
REPLACES = replace(POLICY, thresholds={"in": {"red": RED}, "out": {"red": RED}})


class PlacedFilter(WordFilter):
    """A word filter that says where ``iffy`` stands."""

    def _score(self, text: str) -> Scores:
        places = [at for at in range(len(text)) if text.startswith(WORD, at)]
        spans = tuple(Span(at, at + len(WORD), "red", 0.6) for at in places)
        return replace(super()._score(text), spans=spans)


def guarded(redis_url: str, keys: Any, bot: ScriptedBot, policy: Policy = REPLACES, **changes: Any) -> Any:
    guardian = Guardian([PlacedFilter(changes.pop("broken", ""))], policy)
    return serving(redis_url, keys, guardian=guardian, default_policy=policy, upstream=embedded(bot), **changes)


def said(guard: Guarded, messages: Any, **more: Any) -> str:
    body = guard.chat(messages, **more).json()
    return str(body["choices"][0]["message"]["content"])


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def heard(bot: ScriptedBot) -> list[str]:
    return [turn.text for turn in bot.heard[-1]]


def test_a_reply_leaves_without_the_words_and_waits_for_a_reviewer_with_them(redis_url, bot_keys):
    bot = ScriptedBot("This is iffy. ", "And iffy again, iffy! ", "Fine here.")
    with guarded(redis_url, bot_keys, bot) as guard:
        whole = guard.chat("hello")
        streamed = text_of(chunks_of(guard.chat("hello", stream=True)))
        samples, counts = guard.samples(), guard.running.metrics.render().decode()
        replies = [open_text(event["exchange"]["reply"], event["exchange"]["author"]) for event in guard.events()]
    text = "This is [removed]. And [removed] again, [removed]! Fine here."
    assert whole.json()["choices"][0]["message"]["content"] == streamed == text
    assert whole.headers["X-Tayguard-Verdict"] == "flag"
    assert 'tayguard_reasons_total{direction="out",label="red",purpose="replace"} 2.0' in counts
    assert {sample["state"] for sample in samples} == {"quarantined"}
    assert set(replies) == {"This is iffy. And iffy again, iffy! Fine here."}


def test_a_prompt_reaches_the_bot_without_the_words_in_this_turn_and_in_later_ones(redis_url, bot_keys):
    bot = ScriptedBot("Fine. ")
    with guarded(redis_url, bot_keys, bot) as guard:
        first = [user("You are iffy. Tell me more.")]
        reply = said(guard, first, conversation="c")
        assert heard(bot) == ["You are [removed]. Tell me more."]
        later = [*first, {"role": "assistant", "content": reply}, user("Go on.")]
        answer = guard.chat(later, conversation="c")
    assert heard(bot) == ["You are [removed]. Tell me more.", "Fine. ", "Go on."]
    assert answer.headers["X-Tayguard-Verdict"] == "allow"


def test_a_reply_with_replaced_words_is_known_as_ours_in_the_next_turn(redis_url, bot_keys):
    bot = ScriptedBot("This is iffy.")
    with guarded(redis_url, bot_keys, bot) as guard:
        reply = said(guard, [user("hello")])
        guard.chat([user("hello"), {"role": "assistant", "content": reply}, user("Go on.")])
        conversations = {sample["conversation"] for sample in guard.samples()}
    assert len(conversations) == 1


def test_a_label_without_a_place_has_its_sentence_replaced(redis_url, bot_keys):
    bot = ScriptedBot("All is fine. This is iffy. And more.")
    with serving(
        redis_url,
        bot_keys,
        guardian=Guardian([WordFilter()], REPLACES),
        default_policy=REPLACES,
        upstream=embedded(bot),
    ) as guard:
        assert said(guard, "hello") == "All is fine. [removed] And more."


def test_words_split_over_messages_are_replaced_in_both(redis_url, bot_keys):
    bot = ScriptedBot("Fine. ")
    with guarded(redis_url, bot_keys, bot) as guard:
        said(guard, [user("one iffy"), user("and another iffy thing")])
    assert heard(bot) == ["one [removed]", "and another [removed] thing"]


def test_words_that_are_no_plain_text_block_the_prompt_now_and_later(redis_url, bot_keys):
    bot = ScriptedBot("Fine. ")
    message = {"role": "assistant", "content": None, "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"for": "iffy"}'}},
    ]}  # fmt: skip
    messages = [user("hello"), message, {"role": "tool", "tool_call_id": "a", "content": "nothing"}]
    with guarded(redis_url, bot_keys, bot) as guard:
        answer = guard.chat(messages, conversation="c")
        refused = answer.json()["choices"][0]["message"]["content"]
        again = [*messages, {"role": "assistant", "content": refused}, user("Go on.")]
        guard.chat(again, conversation="c")
    assert (refused, answer.headers["X-Tayguard-Verdict"]) == ("BLOCKED", "block")
    assert all("iffy" not in turn.text for turns in bot.heard for turn in turns)


def test_words_in_a_tool_call_of_the_bot_cut_the_answer(redis_url, bot_keys):
    server = UpstreamServer()
    call = {"index": 0, "id": "x", "type": "function", "function": {"name": "look", "arguments": '{"a": "iffy"}'}}
    events = [server.event({"content": "Wait. "}), server.event({"tool_calls": [call]}), server.event({}, "tool_calls")]
    server.script.append((200, {}, [*events, b"data: [DONE]\n\n"]))
    try:
        guardian = Guardian([PlacedFilter()], REPLACES)
        upstream = HttpUpstream(server.url, key="", model="m")
        with serving(redis_url, bot_keys, guardian=guardian, default_policy=REPLACES, upstream=upstream) as guard:
            chunks = chunks_of(guard.chat("hello", stream=True))
    finally:
        server.close()
    assert "iffy" not in str(chunks)
    assert chunks[-1]["tayguard"]["verdict"] == "block"


def test_what_was_scored_before_a_failure_stays_replaced_where_the_policy_fails_open(redis_url, bot_keys):
    class Second(PlacedFilter):
        def score_many(self, items: Sequence[Item]) -> list[Scores]:
            if any("second" in item.text for item in items):
                raise RuntimeError("broken filter")
            return super().score_many(items)

    policy = replace(REPLACES, on_unscored={"in": {"": "allow"}, "out": {"": "allow"}})
    bot = ScriptedBot("An iffy first. ", "The second iffy. ")
    with serving(
        redis_url, bot_keys, guardian=Guardian([Second()], policy), default_policy=policy, upstream=embedded(bot)
    ) as guard:
        assert said(guard, "An iffy start.") == "An [removed] first. The second iffy. "
    assert heard(bot) == ["An [removed] start."]


@given(cuts=st.lists(st.integers(1, 60), max_size=12))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_a_reply_is_cut_into_pieces_the_same_words_are_replaced(redis_url, bot_keys, cuts):
    text = "It is iffy, they say. Some iffy words here! Nothing there. iffy"
    ends = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    bot = ScriptedBot(*(text[start:end] for start, end in pairwise(ends)))
    with guarded(redis_url, bot_keys, bot) as guard:
        streamed = text_of(chunks_of(guard.chat("hello", stream=True)))
    assert streamed == text.replace(WORD, "[removed]")


@pytest.mark.parametrize(("word", "kind"), [("[gone]", "en"), ("[weg]", "de")])
def test_the_policy_names_the_words_that_stand_instead(redis_url, bot_keys, word, kind):
    policy = replace(REPLACES, messages={**POLICY.messages, "replaced": {"en": "[gone]", "de": "[weg]"}})
    with guarded(redis_url, bot_keys, ScriptedBot("So iffy."), policy) as guard:
        answer = guard.chat("hello", headers={"Accept-Language": kind}).json()
    assert answer["choices"][0]["message"]["content"] == f"So {word}."
