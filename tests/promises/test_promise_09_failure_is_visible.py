"""Promise 9: a broken, slow or absent filter gives *unscored*, the policy says what it means, and all can see it."""

import json
import logging
from dataclasses import replace

import pytest

from filters import Guardian
from guard.scoring import ScoringLimits
from tests.fakes import ScriptedBot, WordFilter
from tests.guarding import POLICY, chunks_of, embedded, serving, text_of

BROKEN = ("raise", "nan", "hang", "absent")
OPEN = replace(POLICY, on_unscored={"in": {"": "allow"}, "out": {"": "allow"}})


def guardian_of(broken, policy=POLICY):
    if broken == "absent":
        silent = WordFilter()
        silent.labels = ()
        silent.score_many = lambda items: [replace(silent._score(""), values={}) for _ in items]
        return Guardian([silent], policy), silent
    words = WordFilter(broken)
    return Guardian([words], policy), words


@pytest.fixture
def guarded(redis_url, bot_keys):
    """Run a guard with a filter that fails in one of the ways, and let go of it in the end."""

    def run(broken, policy=POLICY, bot=None):
        guardian, words = guardian_of(broken, policy)
        filters.append(words)
        limits = ScoringLimits(timeout_s=0.1, breaker_open_s=0.1)
        upstream = embedded(bot or ScriptedBot("Fine. "))
        return serving(redis_url, bot_keys, guardian=guardian, default_policy=policy, scoring=limits, upstream=upstream)

    filters = []
    yield run
    for words in filters:
        words.let_go.set()


@pytest.mark.parametrize("broken", BROKEN)
def test_a_filter_that_fails_blocks_by_default_and_says_unscored_everywhere(guarded, broken, caplog):
    caplog.set_level(logging.INFO, "tayguard.messages")
    bot = ScriptedBot("Fine. ")
    with guarded(broken, bot=bot) as guard:
        whole = guard.chat("hello")
        streamed = chunks_of(guard.chat("hello", stream=True))
        metrics = guard.running.metrics.render().decode()
        samples = guard.samples()
    assert whole.headers["X-Tayguard-Verdict"] == "unscored"
    assert whole.json()["choices"][0]["message"]["content"] == "UNSCORED"
    assert whole.json()["choices"][0]["finish_reason"] == "content_filter"
    assert (text_of(streamed), streamed[-1]["tayguard"]["verdict"]) == ("UNSCORED", "unscored")
    assert bot.heard == []
    assert {sample["state"] for sample in samples} == {"quarantined"}
    events = [record.fields for record in caplog.records if record.name == "tayguard.messages"]
    assert {event["verdict"] for event in events} == {"unscored"}
    assert 'outcome="allow"' not in metrics
    assert 'tayguard_messages_total{outcome="block"}' not in metrics


@pytest.mark.parametrize("broken", ["raise", "nan", "hang"])
def test_broken_is_another_number_than_unscored_blocked_and_clean(guarded, broken):
    with guarded(broken) as guard:
        guard.chat("hello")
        metrics = guard.running.metrics.render().decode()
    assert 'tayguard_messages_total{outcome="broken"} 1.0' in metrics
    assert 'tayguard_verdicts_total{direction="in",verdict="broken"} 1.0' in metrics


@pytest.mark.parametrize("broken", BROKEN)
def test_failing_open_serves_and_still_learns_nothing(guarded, broken):
    with guarded(broken, policy=OPEN, bot=ScriptedBot("Fine here. ", "And here.")) as guard:
        whole = guard.chat("hello", conversation="c")
        streamed = chunks_of(guard.chat("hello", conversation="c", stream=True))
        samples = guard.samples()
    assert whole.json()["choices"][0]["message"]["content"] == "Fine here. And here."
    assert whole.headers["X-Tayguard-Verdict"] == "unscored"
    assert text_of(streamed) == "Fine here. And here."
    assert {sample["state"] for sample in samples} == {"quarantined"}


def test_a_filter_that_hangs_keeps_failing_visibly_and_does_not_stop_the_guard(guarded):
    with guarded("hang") as guard:
        verdicts = [guard.chat("hello").headers["X-Tayguard-Verdict"] for _ in range(8)]
        alive = guard.chat("hello").status_code
        metrics = guard.running.metrics.render().decode()
    assert verdicts == ["unscored"] * 8
    assert alive == 200
    assert 'tayguard_scoring_failures_total{kind="breaker"}' in metrics


def test_a_filter_that_comes_back_is_used_again(guarded):
    with guarded("raise") as guard:
        assert guard.chat("hello").headers["X-Tayguard-Verdict"] == "unscored"
        guard.running.deps.guardian.filters[0].broken = ""
        assert guard.chat("hello").headers["X-Tayguard-Verdict"] == "allow"


def test_no_answer_and_no_log_holds_a_score_or_a_text(guarded, caplog):
    caplog.set_level(logging.INFO)
    with guarded("") as guard:
        answer = guard.chat("an iffy secret")
    fields = json.dumps([getattr(record, "fields", {}) for record in caplog.records], default=str)
    assert "iffy" not in fields
    assert "0.6" not in answer.text + str(answer.headers)
