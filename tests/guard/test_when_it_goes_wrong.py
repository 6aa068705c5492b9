"""What a message leaves behind when something fails, is stopped or has nothing new to say."""

import logging
import threading

import pytest

from filters import Guardian
from guard.entry import EntryLimits
from guard.errors import BadRequestError
from learner.errors import StoreError
from tests.fakes import ContextFilter, ScriptedBot
from tests.guarding import POLICY, chunks_of, embedded, serving, text_of, until


def user(text):
    return {"role": "user", "content": text}


def said(answer):
    return answer.json()["choices"][0]["message"]["content"]


class FailsOnce:
    """A store whose first capture fails, and whose release then fails once as well."""

    def __init__(self, store):
        self.store = store
        self.to_fail = ["capture", "release_lock"]

    async def run(self, call):
        if call.script in self.to_fail:
            self.to_fail.remove(call.script)
            raise StoreError("away for a moment")
        return await self.store.run(call)


def test_a_capture_that_failed_gives_back_the_conversation_and_the_retry_key(redis_url, bot_keys):
    with serving(redis_url, bot_keys, entry=EntryLimits(wait_s=5.0)) as guard:
        guard.running.recorder._store = guard.running.entry._store = FailsOnce(guard.running.deps.store)
        first = guard.chat("hello", conversation="c", headers={"Idempotency-Key": "k"})
        again = guard.chat("hello", conversation="c", headers={"Idempotency-Key": "k"})
    assert [answer.headers["X-Tayguard-Captured"] for answer in (first, again)] == ["no", "yes"]


def test_stop_comes_before_the_answer_of_a_retry(redis_url, bot_keys):
    with serving(redis_url, bot_keys) as guard:
        guard.chat("hello", headers={"Idempotency-Key": "k"})
        guard.store._redis.hset(guard.keys.state, "stopped", "1")
        assert said(guard.chat("hello", headers={"Idempotency-Key": "k"})) == "STOPPED"


def test_stop_comes_before_waiting_for_the_request_before(redis_url, bot_keys):
    bot = ScriptedBot("Done. ", "")
    bot.go_on.clear()
    with serving(redis_url, bot_keys, upstream=embedded(bot), entry=EntryLimits(wait_s=1.0)) as guard:
        first = threading.Thread(target=guard.chat, args=("hello",), kwargs={"conversation": "c"})
        first.start()
        until(lambda: bot.heard)
        guard.store._redis.hset(guard.keys.state, "stopped", "1")
        assert said(guard.chat("hello", conversation="c")) == "STOPPED"
        bot.go_on.set()
        first.join(20)


def test_a_request_with_nothing_new_is_judged_by_what_it_goes_on_from(redis_url, bot_keys):
    with serving(redis_url, bot_keys) as guard:
        reply = said(guard.chat("hello", conversation="c"))
        answer = guard.chat([user("hello"), {"role": "assistant", "content": reply}], conversation="c")
    assert answer.headers["X-Tayguard-Verdict"] == "allow"


def test_messages_that_were_blocked_together_do_not_pass_one_by_one_later(redis_url, bot_keys):
    bot = ScriptedBot("Fine. ")
    with serving(redis_url, bot_keys, upstream=embedded(bot), guardian=Guardian([ContextFilter()], POLICY)) as guard:
        messages = [user("one"), user("two"), user("bad")]
        refused = said(guard.chat(messages, conversation="c"))
        messages += [{"role": "assistant", "content": refused}, user("go on")]
        assert guard.chat(messages, conversation="c").headers["X-Tayguard-Verdict"] == "block"
    assert bot.heard == []


class Failing(ScriptedBot):
    """A bot that fails with an exception that nobody foresaw."""

    def reply(self, turns, *, seed=0, choice=0):
        raise AttributeError("made up")


@pytest.mark.parametrize("stream", [False, True])
def test_a_bot_that_raises_anything_is_an_upstream_error_and_no_disconnect(redis_url, bot_keys, stream):
    with serving(redis_url, bot_keys, upstream=embedded(Failing())) as guard:
        assert guard.chat("hello", stream=stream).status_code == 502
        metrics = guard.running.metrics.render().decode()
    assert 'tayguard_messages_total{outcome="upstream_error"} 1.0' in metrics


def test_what_nobody_foresaw_is_counted_and_logged_as_failed_with_its_type(redis_url, bot_keys, caplog):
    caplog.set_level(logging.INFO, "tayguard.messages")
    with serving(redis_url, bot_keys) as guard:
        guard.running.proxy._learning = None
        assert guard.chat("hello", conversation="c").status_code == 500
        metrics = guard.running.metrics.render().decode()
    assert 'tayguard_messages_total{outcome="failed"} 1.0' in metrics
    (event,) = [record.fields for record in caplog.records if record.name == "tayguard.messages"]
    assert (event["finish"], event["error"]) == ("failed", "AttributeError")


@pytest.mark.parametrize("text", ["hello", "an iffy word"])
def test_a_prompt_that_was_judged_and_refused_upstream_is_logged_and_not_learned(redis_url, bot_keys, text):
    upstream = embedded(ScriptedBot())

    async def refuse(asked, version):
        raise BadRequestError("the upstream refuses this request (HTTP 400)")
        yield

    upstream.stream = refuse
    with serving(redis_url, bot_keys, upstream=upstream) as guard:
        assert guard.chat(text).status_code == 400
        (event,) = until(guard.events)
        samples = guard.samples()
    assert (event["exchange"]["finish"], event["exchange"]["prompt"]) == ("refused", text)
    assert [sample["state"] for sample in samples] == (["quarantined"] if "iffy" in text else [])


def test_an_answer_that_drips_ends_at_its_deadline(redis_url, bot_keys):
    class Dripping(ScriptedBot):
        def reply(self, turns, *, seed=0, choice=0):
            while not self.closed.wait(0.05):
                yield "word. "

    bot = Dripping()
    with serving(redis_url, bot_keys, upstream=embedded(bot), entry=EntryLimits(answer_s=0.5)) as guard:
        whole = guard.chat("hello")
        chunks = chunks_of(guard.chat("hello", stream=True))
        bot.closed.set()
    assert (whole.status_code, whole.json()["error"]["code"]) == (504, "upstream_timeout")
    assert chunks[-1]["error"]["code"] == "upstream_timeout"
    assert "word." in text_of(chunks)
