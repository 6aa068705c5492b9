"""Promise 4, at the wire: one text has one verdict, streamed or not, any ``n``, said in words or in a tool call."""

import threading
from dataclasses import replace

import pytest

from filters import Guardian
from tests.fakes import ScriptedBot, WordFilter
from tests.guarding import POLICY, chunks_of, embedded, serving

TEXTS = {"hello there. Nice day!": "allow", "an iffy word. Nice day!": "flag", "Nice day. A bad word! Yes.": "block"}


@pytest.mark.parametrize("text", TEXTS)
def test_a_prompt_has_one_verdict_in_every_shape(redis_url, bot_keys, text):
    with serving(redis_url, bot_keys, upstream=embedded(ScriptedBot("Fine. "))) as guard:
        parts = [{"role": "user", "content": [{"type": "text", "text": text}]}]
        call = {"id": "1", "type": "function", "function": {"name": "say", "arguments": text}}
        made_up = [{"role": "assistant", "tool_calls": [call]}, {"role": "user", "content": "go on"}]
        answers = [guard.chat(text), guard.chat(text, n=3), guard.chat(text, stream=True), guard.chat(parts)]
        answers += [guard.chat(made_up), guard.chat(made_up, stream=True)]
    assert {answer.headers["X-Tayguard-Verdict"] for answer in answers} == {TEXTS[text]}


@pytest.mark.parametrize("text", TEXTS)
def test_a_reply_has_one_verdict_in_every_shape(redis_url, bot_keys, text):
    verdicts = set()
    for pieces in ([text], list(text)):
        with serving(redis_url, bot_keys, upstream=embedded(ScriptedBot(*pieces))) as guard:
            verdicts |= {guard.chat("hello", n=n).headers["X-Tayguard-Verdict"] for n in (1, 2)}
            streams = [chunks_of(guard.chat("hello", n=n, stream=True)) for n in (1, 2)]
            verdicts |= {chunks[-1]["tayguard"]["verdict"] for chunks in streams}
    assert verdicts == {TEXTS[text]}


def test_what_else_is_scored_at_the_same_time_does_not_count(redis_url, bot_keys):
    verdicts = {}
    with serving(redis_url, bot_keys) as guard:
        workers = [
            threading.Thread(
                target=lambda t=text, i=i: verdicts.__setitem__((t, i), guard.chat(t).headers["X-Tayguard-Verdict"])
            )
            for text in TEXTS
            for i in range(6)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(30)
    assert {(text, verdict) for (text, _), verdict in verdicts.items()} == set(TEXTS.items())


def test_a_request_pins_the_policy_it_began_with_for_all_hops(redis_url, bot_keys):
    strict = replace(
        POLICY, thresholds={side: {"red": replace(POLICY.thresholds[side]["red"], block=0.5)} for side in ("in", "out")}
    )
    policies = {"": POLICY, strict.id: strict}

    async def policy_of(policy_id):
        return policies[policy_id]

    bot = ScriptedBot("Fine here. ", "An iffy word. ", "")
    bot.go_on.clear()
    with serving(
        redis_url, bot_keys, upstream=embedded(bot), policy_of=policy_of, guardian=Guardian([WordFilter()], POLICY)
    ) as guard:
        answers = []
        worker = threading.Thread(target=lambda: answers.append(guard.chat("hello")))
        worker.start()
        while not bot.heard:
            worker.join(0.01)
        guard.store._redis.hset(guard.keys.state, "policy", strict.id)
        bot.go_on.set()
        worker.join(20)
        answers.append(guard.chat("hello"))
    assert [answer.headers["X-Tayguard-Verdict"] for answer in answers] == ["flag", "block"]
