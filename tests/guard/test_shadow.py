"""Shadow mode: every verdict is found, counted and captured, and no answer is another than without the guard."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filters import Guardian, Policy
from guard.entry import EntryLimits
from guard.scoring import ScoringLimits
from guard.upstream_http import HttpUpstream
from learner.store import AsyncStore
from tests.fakes import ScriptedBot, UpstreamServer, WordFilter
from tests.guarding import POLICY, chunks_of, embedded, serving, text_of, until

REPLACES = {side: {"red": replace(POLICY.thresholds["in"]["red"], replace=0.55)} for side in ("in", "out")}
SHADOW = replace(POLICY, thresholds=REPLACES, mode="shadow")
REPLY = "All fine. This is bad. An iffy end, not over"
PROMPTS = ("hello there", "this is bad", "an iffy word")
BROKEN = ("", "raise", "nan", "hang", "partial")


def shadowing(redis_url: str, keys: Any, bot: ScriptedBot, broken: str = "", policy: Policy = SHADOW, **changes: Any):
    changes.setdefault("scoring", ScoringLimits(timeout_s=0.1, breaker_open_s=0.1))
    words = WordFilter(broken)
    words.let_go.set()
    guardian = Guardian([words], policy)
    return serving(redis_url, keys, guardian=guardian, default_policy=policy, upstream=embedded(bot), **changes)


def contents(chunks: list[dict[str, Any]]) -> list[Any]:
    """Return what a stream gives a person: all but ids and times."""
    return [(row["delta"], row["finish_reason"]) for chunk in chunks for row in chunk.get("choices", [])]


@given(
    cuts=st.lists(st.integers(1, 43), max_size=6),
    prompt=st.sampled_from(PROMPTS),
    broken=st.sampled_from(BROKEN),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_is_another_than_the_upstreams(redis_url, bot_keys, cuts, prompt, broken):
    pieces = [REPLY[start:end] for start, end in pairwise(sorted({0, len(REPLY), *cuts}))]
    bot = ScriptedBot(*pieces)
    with shadowing(redis_url, bot_keys, bot, broken) as guard:
        whole = guard.chat(prompt)
        streamed = chunks_of(guard.chat(prompt, stream=True))
    assert whole.json()["choices"][0]["message"]["content"] == text_of(streamed) == REPLY
    assert whole.json()["choices"][0]["finish_reason"] == contents(streamed)[-1][1] == "stop"
    assert [[turn.text for turn in turns] for turns in bot.heard] == [[prompt], [prompt]]


def test_a_whole_conversation_reaches_the_bot_as_it_was_written(redis_url, bot_keys):
    bot = ScriptedBot("This is bad.")
    messages: list[dict[str, str]] = []
    with shadowing(redis_url, bot_keys, bot) as guard:
        for prompt in PROMPTS:
            messages.append({"role": "user", "content": prompt})
            messages.append(guard.chat(messages, conversation="c").json()["choices"][0]["message"])
    assert [turn.text for turn in bot.heard[-1]] == [message["content"] for message in messages[:-1]]


def test_verdicts_are_told_counted_and_captured_as_ever(redis_url, bot_keys):
    with shadowing(redis_url, bot_keys, ScriptedBot("Fine.")) as guard:
        verdicts = [guard.chat(prompt).headers["X-Tayguard-Verdict"] for prompt in PROMPTS]
        counts, samples = guard.running.metrics.render().decode(), guard.samples()
    assert verdicts == ["allow", "block", "flag"]
    assert 'tayguard_verdicts_total{direction="in",verdict="block"} 1.0' in counts
    assert sorted({sample["state"] for sample in samples}) == ["quarantined"]


def test_what_was_blocked_before_goes_on_to_the_bot_once_the_guard_only_watches(redis_url, bot_keys):
    bot = ScriptedBot("Fine.")
    messages = [{"role": "user", "content": "this is bad"}]
    with serving(redis_url, bot_keys, upstream=embedded(bot)) as guard:
        refused = guard.chat(messages, conversation="c").json()["choices"][0]["message"]
    messages += [refused, {"role": "user", "content": "go on"}]
    with shadowing(redis_url, bot_keys, bot) as guard:
        guard.chat(messages, conversation="c")
    assert [turn.text for turn in bot.heard[-1]] == ["this is bad", refused["content"], "go on"]


@pytest.mark.parametrize(
    "limits",
    [ScoringLimits(queue=0), ScoringLimits(max_units=1), ScoringLimits(timeout_s=1e-9, breaker_failures=1)],
    ids=["no queue", "one unit", "no time"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_no_limit_of_scoring_refuses_anything(redis_url, bot_keys, limits, stream):
    with shadowing(redis_url, bot_keys, ScriptedBot(REPLY), scoring=limits) as guard:
        answers = [guard.chat("One. Two. Three.", stream=stream) for _ in range(3)]
    texts = [text_of(chunks_of(one)) if stream else one.json()["choices"][0]["message"]["content"] for one in answers]
    assert texts == [REPLY] * 3


def test_a_store_that_goes_away_refuses_nothing(redis_url, bot_keys):
    with shadowing(redis_url, bot_keys, ScriptedBot(REPLY)) as guard:
        until(lambda: guard.running.live.pointer)
        guard.running.entry._store = AsyncStore("unix:///nonexistent/r.sock")
        answer = guard.chat("hello")
    assert answer.json()["choices"][0]["message"]["content"] == REPLY
    assert answer.headers["X-Tayguard-Captured"] == "no"


def test_a_conversation_that_is_busy_refuses_nothing(redis_url, bot_keys):
    bot = ScriptedBot("One. ", "Two.")
    bot.go_on.clear()
    with shadowing(redis_url, bot_keys, bot, entry=EntryLimits(wait_s=0.1)) as guard:
        first = threading.Thread(target=guard.chat, args=("hello",), kwargs={"conversation": "c"})
        first.start()
        until(lambda: bot.heard)
        second: list[Any] = []
        other = threading.Thread(target=lambda: second.append(guard.chat("hello", conversation="c")))
        other.start()
        until(lambda: len(bot.heard) == 2)
        bot.go_on.set()
        first.join(20)
        other.join(20)
    assert second[0].json()["choices"][0]["message"]["content"] == "One. Two."


def test_text_leaves_before_it_is_scored(redis_url, bot_keys):
    bot = ScriptedBot("One and ", "two.")
    bot.go_on.clear()
    with shadowing(redis_url, bot_keys, bot) as guard, guard.client() as client:
        stream = client.chat.completions.create(
            model="tay", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        texts = (chunk.choices[0].delta.content for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
        assert next(texts) == "One and "  # no sentence is complete, and the bot says nothing more yet
        bot.go_on.set()
        assert next(texts) == "two."
        stream.close()


def test_tool_calls_and_refusals_pass_as_they_are(redis_url, bot_keys):
    server = UpstreamServer()
    call = {"index": 0, "id": "x", "type": "function", "function": {"name": "look", "arguments": '{"a": "bad"}'}}
    events = [
        server.event({"refusal": "bad too"}),
        server.event({"tool_calls": [call]}),
        server.event({}, "tool_calls"),
    ]
    server.script.append((200, {}, [*events, b"data: [DONE]\n\n"]))
    try:
        upstream = HttpUpstream(server.url, key="", model="m")
        guardian = Guardian([WordFilter()], SHADOW)
        with serving(redis_url, bot_keys, guardian=guardian, default_policy=SHADOW, upstream=upstream) as guard:
            chunks = chunks_of(guard.chat("hello", stream=True))
    finally:
        server.close()
    deltas = [delta for delta, _ in contents(chunks)]
    assert "".join(delta.get("refusal") or "" for delta in deltas) == "bad too"
    (passed,) = [call for delta in deltas for call in delta.get("tool_calls") or ()]
    assert passed["function"] == call["function"]
    assert contents(chunks)[-1][1] == "tool_calls"
    assert chunks[-1]["tayguard"]["verdict"] == "block"
