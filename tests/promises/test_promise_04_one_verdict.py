"""Promise 4: one text has one verdict, whole, in pieces or streamed, for any ``n``, in words or a tool call.

First in the filters, then at the wire; whatever else is being scored at the time.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import Guardian, Item
from tests.fakes import ScriptedBot, WordFilter
from tests.guarding import POLICY, chunks_of, embedded, serving
from tests.hostile import ABUSIVE, BORDERLINE, SMALL_TALK

AT_THE_WIRE = {
    "hello there. Nice day!": "allow",
    "an iffy word. Nice day!": "flag",
    "Nice day. A bad word! Yes.": "block",
}
TEXT = " ".join([*SMALL_TALK[:3], BORDERLINE, SMALL_TALK[4]])


@pytest.fixture(scope="module")
def guardian() -> Guardian:
    return Guardian()


@given(cuts=st.lists(st.integers(min_value=0, max_value=len(TEXT)), max_size=8))
@settings(max_examples=8, deadline=None)
def test_streamed_and_whole_have_the_same_scores_and_verdict(guardian, cuts):
    whole_scores, whole = guardian.judge(Item(TEXT))
    fold, last = guardian.fold(Item("")), 0
    for cut in [*sorted(cuts), len(TEXT)]:
        fold.feed(TEXT[last:cut])
        last = cut
    fold.close()
    for name, scores in fold.scores.items():
        assert scores.values == pytest.approx(whole_scores[name].values, abs=1e-6)  # measured: 5e-7, a longer pass
    streamed = fold.verdict()
    assert (streamed.serve, streamed.learn, streamed.coverage) == (whole.serve, whole.learn, whole.coverage)
    assert [(one.label, one.purpose, one.variant) for one in streamed.reasons] == [
        (one.label, one.purpose, one.variant) for one in whole.reasons
    ]


def test_what_else_is_scored_at_the_same_time_does_not_count(guardian):
    texts = [BORDERLINE, ABUSIVE, *SMALL_TALK] * 2
    alone = [guardian.judge(Item(text)) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda text: guardian.judge(Item(text)), texts))
    assert together == alone


def test_a_verdict_names_its_policy_and_filter_versions(guardian):
    verdict = guardian.check(prompt=BORDERLINE)
    assert verdict.policy == guardian.policy.id
    assert dict(verdict.filters) == guardian.versions


@pytest.mark.parametrize("text", AT_THE_WIRE)
def test_a_prompt_has_one_verdict_in_every_shape(redis_url, bot_keys, text):
    with serving(redis_url, bot_keys, upstream=embedded(ScriptedBot("Fine. "))) as guard:
        parts = [{"role": "user", "content": [{"type": "text", "text": text}]}]
        call = {"id": "1", "type": "function", "function": {"name": "say", "arguments": text}}
        made_up = [{"role": "assistant", "tool_calls": [call]}, {"role": "user", "content": "go on"}]
        answers = [guard.chat(text), guard.chat(text, n=3), guard.chat(text, stream=True), guard.chat(parts)]
        answers += [guard.chat(made_up), guard.chat(made_up, stream=True)]
    assert {answer.headers["X-Tayguard-Verdict"] for answer in answers} == {AT_THE_WIRE[text]}


@pytest.mark.parametrize("text", AT_THE_WIRE)
def test_a_reply_has_one_verdict_in_every_shape(redis_url, bot_keys, text):
    verdicts = set()
    for pieces in ([text], list(text)):
        with serving(redis_url, bot_keys, upstream=embedded(ScriptedBot(*pieces))) as guard:
            verdicts |= {guard.chat("hello", n=n).headers["X-Tayguard-Verdict"] for n in (1, 2)}
            streams = [chunks_of(guard.chat("hello", n=n, stream=True)) for n in (1, 2)]
            verdicts |= {chunks[-1]["tayguard"]["verdict"] for chunks in streams}
    assert verdicts == {AT_THE_WIRE[text]}


def test_what_else_is_answered_at_the_same_time_does_not_count(redis_url, bot_keys):
    verdicts = {}
    with serving(redis_url, bot_keys) as guard:
        workers = [
            threading.Thread(
                target=lambda t=text, i=i: verdicts.__setitem__((t, i), guard.chat(t).headers["X-Tayguard-Verdict"])
            )
            for text in AT_THE_WIRE
            for i in range(6)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(30)
    assert {(text, verdict) for (text, _), verdict in verdicts.items()} == set(AT_THE_WIRE.items())


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
