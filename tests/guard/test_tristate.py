"""Every endpoint with a filter that is broken, slow, returns NaN or is absent: unscored, and a number of its own."""

import pytest

from guard.dialects.relay_settings import RelaySettings
from guard.upstream_mapped import RasaUpstream, RelayUpstream
from tests.checking import BROKEN, LABELS, OPEN, checking, counted, post
from tests.fakes import ScriptedBot, UpstreamServer
from tests.guarding import chunks_of, embedded, text_of

HELLO = "hello there"
REPLY = "All is fine here."
RELAY = RelaySettings(
    url="http://127.0.0.1:1/talk", text="/text", author="/user", conversation="/session", reply="/reply", stream="sse",
    stream_flag="/stream", delta="/delta", end="[DONE]",
)  # fmt: skip


@pytest.fixture
def server():
    server = UpstreamServer()
    yield server
    server.close()


@pytest.fixture(params=BROKEN)
def how(request):
    return request.param


def metrics(guard):
    return guard.running.metrics.render().decode()


def outcome(how):
    return f'tayguard_messages_total{{outcome="{BROKEN[how]}"}} 1.0'


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("policy", [LABELS, OPEN], ids=["closed", "open"])
def test_chat(redis_url, bot_keys, how, policy, stream):
    bot = ScriptedBot(REPLY)
    with checking(redis_url, bot_keys, broken=how, policy=policy, upstream=embedded(bot)) as guard:
        answer = guard.chat(HELLO, stream=stream)
        counts, samples = metrics(guard), guard.samples()
    text = text_of(chunks_of(answer)) if stream else answer.json()["choices"][0]["message"]["content"]
    verdict = chunks_of(answer)[-1]["tayguard"]["verdict"] if stream else answer.headers["X-Tayguard-Verdict"]
    assert (text, verdict) == ("UNSCORED" if policy is LABELS else REPLY, "unscored")
    assert {sample["state"] for sample in samples} == {"quarantined"}
    assert outcome(how) in counts
    assert 'outcome="allow"' not in counts
    assert 'outcome="block"' not in counts


def test_rasa(redis_url, bot_keys, server, how):
    with checking(redis_url, bot_keys, broken=how, upstream=RasaUpstream(server.url, key="ours")) as guard:
        answer = post(guard, "/webhooks/rest/webhook", {"sender": "au1", "message": HELLO})
        counts, samples = metrics(guard), guard.samples()
    assert [message["text"] for message in answer.json()] == ["UNSCORED"]
    assert {sample["state"] for sample in samples} == {"quarantined"}
    assert outcome(how) in counts
    assert not any(body for _, _, body in server.requests)


@pytest.mark.parametrize("stream", [False, True])
def test_relay(redis_url, bot_keys, server, how, stream):
    relays = {"shop": (RELAY, RelayUpstream("shop", RELAY, key="ours"))}
    with checking(redis_url, bot_keys, broken=how, relays=relays) as guard:
        body = {"text": HELLO, "user": "au1", "session": "c1", **({"stream": True} if stream else {})}
        answer = post(guard, "/v1/relay/shop", body)
        counts, samples = metrics(guard), guard.samples()
    assert "UNSCORED" in answer.text
    assert stream or answer.json() == {"reply": "UNSCORED"}
    assert {sample["state"] for sample in samples} == {"quarantined"}
    assert outcome(how) in counts


@pytest.mark.parametrize("policy", [LABELS, OPEN], ids=["closed", "open"])
def test_moderations(redis_url, bot_keys, how, policy):
    with checking(redis_url, bot_keys, broken=how, policy=policy) as guard:
        answer = post(guard, "/v1/moderations", {"input": HELLO}).json()["results"][0]
        assert counted(guard, "moderations") == {BROKEN[how]: 1.0}
    assert answer["tayguard"]["verdict"] == "unscored"
    assert answer["flagged"] is (policy is LABELS)


def test_analyze(redis_url, bot_keys, how):
    with checking(redis_url, bot_keys, broken=how) as guard:
        answer = post(
            guard,
            "/v1alpha1/comments:analyze",
            {"comment": {"text": HELLO}, "requestedAttributes": {"TOXICITY": {}, "INSULT": {}}},
        )
        assert counted(guard, "perspective") == {BROKEN[how]: 1.0}
    assert (answer.status_code, answer.json()["error"]["status"]) == (503, "UNAVAILABLE")


@pytest.mark.parametrize("policy", [LABELS, OPEN], ids=["closed", "open"])
def test_checks(redis_url, bot_keys, how, policy):
    with checking(redis_url, bot_keys, broken=how, policy=policy) as guard:
        answer = post(guard, "/v1/checks", {"messages": [{"role": "user", "content": HELLO}]}).json()
        assert counted(guard, "checks") == {BROKEN[how]: 1.0}
    assert answer["verdict"]["serve"] == "unscored"
    assert answer["let_through"] is (policy is OPEN)
