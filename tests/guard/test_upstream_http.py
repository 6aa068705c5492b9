"""An OpenAI-compatible server behind the guard: well, slow, broken, rude."""

import json

import pytest

from guard.upstream_http import HttpLimits, HttpUpstream
from tests.fakes import UpstreamServer
from tests.guarding import chunks_of, serving, text_of, until


@pytest.fixture
def server():
    server = UpstreamServer()
    yield server
    server.close()


@pytest.fixture
def guard(redis_url, bot_keys, server):
    limits = HttpLimits(timeout_s=5, idle_s=0.5, max_bytes=20_000)
    with serving(redis_url, bot_keys, upstream=HttpUpstream(server.url, key="ours", limits=limits)) as running:
        yield running


def completion(text="Fine. ", **more):
    message = {"role": "assistant", "content": text, **more}
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()


def test_a_whole_reply_passes_with_our_key_and_never_the_clients(guard, server):
    server.script.append((200, {}, [completion()]))
    answer = guard.chat("hello", temperature=0.3, user="au1", made_up="field", logprobs=True)
    assert answer.json()["choices"][0]["message"]["content"] == "Fine. "
    assert answer.headers["X-Tayguard-Version"] == "upstream:tay"
    path, headers, body = server.requests[-1]
    assert (path, headers["Authorization"]) == ("/v1/chat/completions", "Bearer ours")
    assert body == {"temperature": 0.3, "model": "tay", "messages": [{"role": "user", "content": "hello"}]}


def test_a_streamed_reply_passes_with_its_usage(guard, server):
    usage = b'data: {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}\n\n'
    chunks = [server.event({"content": "Fine. "}), server.event({}, "stop"), usage, b"data: [DONE]\n\n"]
    server.script.append((200, {}, chunks))
    chunks = chunks_of(guard.chat("hello", stream=True, stream_options={"include_usage": True}))
    assert text_of(chunks) == "Fine. "
    assert chunks[-1]["usage"]["total_tokens"] == 3
    assert chunks[-1]["tayguard"]["captured"] == "yes"


def test_a_bad_reply_is_cut_and_the_upstream_is_cancelled(guard, server):
    server.script.append((200, {}, [server.event({"content": "Fine. bad thing. "}), server.STALL]))
    chunks = chunks_of(guard.chat("hello", stream=True))
    assert text_of(chunks) == "Fine."
    assert chunks[-1]["choices"][0]["finish_reason"] == "content_filter"
    assert chunks[-1]["tayguard"] == {"verdict": "block", "coverage": 1.0, "captured": "yes"}
    assert guard.events()[0]["exchange"]["reply"] == "Fine. bad thing. "


def test_a_bad_whole_reply_is_replaced_by_the_policys_message(guard, server):
    server.script.append((200, {}, [completion("Fine. bad thing. ")]))
    answer = guard.chat("hello")
    assert answer.json()["choices"][0]["message"]["content"] == "BLOCKED"
    assert answer.headers["X-Tayguard-Verdict"] == "block"


def test_a_429_passes_through_with_its_retry_after(guard, server):
    server.script.append((429, {"Retry-After": "7"}, [b"patience"]))
    answer = guard.chat("hello")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json()["error"]["type"] == "rate_limit_error"


RUBBISH = {
    "not json": b"<html>",
    "an array": b"[1]",
    "an error": b'{"error": {"message": "secret"}}',
    "wrong types": b'{"choices": [{"message": {"content": 7}}]}',
    "no choices": b"{}",
    "another choice": b'{"choices": [{"index": 5, "message": {"content": "hi"}}]}',
    "too much": completion("a" * 30_000),
}


@pytest.mark.parametrize("stream", [False, True])
def test_rubbish_gives_one_clear_error_and_never_its_text(guard, server, stream):
    for body in RUBBISH.values():
        sent = b"data: " + body.replace(b'"message":', b'"delta":') + b"\n\n" if stream else body
        server.script.append((200, {}, [sent]))
        answer = guard.chat("hello", stream=stream)
        assert (answer.status_code, "error" in answer.text) == (502, True), body
        assert "try again later" in answer.json()["error"]["message"]
        assert "secret" not in answer.text


@pytest.mark.parametrize(("status", "ours"), [(500, 502), (401, 502), (302, 502), (400, 400), (404, 404)])
def test_an_upstreams_status_becomes_ours(guard, server, status, ours):
    server.script.append((status, {"Location": "http://127.0.0.1:1/"}, [b"secret"]))
    answer = guard.chat("hello")
    assert answer.status_code == ours
    assert "secret" not in answer.text


def test_an_upstream_that_stalls_in_mid_stream_ends_it_with_an_error_and_is_not_acknowledged(guard, server):
    server.script.append((200, {}, [server.event({"content": "Fine here. And "}), server.STALL]))
    chunks = chunks_of(guard.chat("hello", stream=True, conversation="c"))
    assert text_of(chunks).strip() == "Fine here."
    assert chunks[-1]["error"]["code"] == "upstream_timeout"
    assert chunks[-1]["tayguard"]["captured"] == "no"
    (event,) = until(guard.events)
    assert event["exchange"]["finish"] == "upstream_error"
    assert guard.samples() == []


def test_an_upstream_that_breaks_off_ends_the_stream_with_an_error(guard, server):
    server.script.append((200, {}, [server.event({"content": "Fine here. And "}), server.RESET]))
    chunks = chunks_of(guard.chat("hello", stream=True))
    assert chunks[-1]["error"]["code"] == "upstream_error"


def test_an_upstream_that_is_down_gives_502_and_frees_the_conversation(guard, server):
    server.close()
    answer = guard.chat("hello", conversation="c")
    assert (answer.status_code, "try again later" in answer.json()["error"]["message"]) == (502, True)
    assert guard.chat("hello", conversation="c").status_code == 502


def test_the_models_are_the_upstreams(guard):
    with guard.client() as client:
        assert [model.id for model in client.models.list()] == ["small"]
