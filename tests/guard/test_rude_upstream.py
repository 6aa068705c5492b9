"""An upstream that says what nobody judges, packs its answers or breaks off: none of it leaves, and all of it ends."""

import asyncio
import gzip
import json
import threading
import time

import httpx
import pytest

from guard.errors import OverloadedError, UpstreamError
from guard.upstream import Asked
from guard.upstream_http import HttpLimits, HttpUpstream
from guard.upstream_wire import Capped
from tests.fakes import ScriptedBot, UpstreamServer
from tests.guarding import chunks_of, embedded, serving, text_of, until

SENTENCE = "you are all idiots"


@pytest.fixture
def server():
    server = UpstreamServer()
    yield server
    server.close()


@pytest.fixture
def guard(redis_url, bot_keys, server):
    limits = HttpLimits(timeout_s=5, idle_s=0.5)
    with serving(redis_url, bot_keys, upstream=HttpUpstream(server.url, limits=limits)) as running:
        yield running


def call(index, name, **more):
    return {"index": index, "type": "function", "function": {"name": name, "arguments": "{}"}, **more}


def test_ids_and_numbers_of_tool_calls_are_ours(guard, server):
    calls = [call(700, "look", id=SENTENCE), call(9, "find", id="call_you_are_all_idiots")]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    server.script.append((200, {}, [json.dumps({"choices": [choice]}).encode()]))
    events = [server.event({"tool_calls": [one]}) for one in calls]
    server.script.append((200, {}, [*events, server.event({}, "tool_calls"), b"data: [DONE]\n\n"]))
    whole = guard.chat("hello")
    streamed = guard.chat("hello", stream=True)
    assert "idiots" not in whole.text + streamed.text
    (delta,) = [
        row["delta"] for chunk in chunks_of(streamed) for row in chunk["choices"] if "tool_calls" in row["delta"]
    ]
    assert [one["index"] for one in delta["tool_calls"]] == [0, 1]
    ids = [one["id"] for one in (*delta["tool_calls"], *whole.json()["choices"][0]["message"]["tool_calls"])]
    assert len(set(ids)) == 4
    assert all(one.startswith("call_") for one in ids)


def test_a_model_that_is_named_by_a_sentence_is_not_listed():
    async def run(handler):
        upstream = HttpUpstream("http://upstream/v1", transport=handler)
        try:
            return await upstream.models()
        finally:
            await upstream.close()

    rows = {"data": [{"id": SENTENCE}, {"id": "small-1.5"}, {"id": "a" * 300}]}
    assert asyncio.run(run(httpx.MockTransport(lambda _: httpx.Response(200, json=rows)))) == ["small-1.5"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_number_that_no_program_can_hold_is_a_broken_answer(guard, server, stream):
    body = b'{"choices": [{"index": 1e999, "%s": {"content": "x"}}]}' % (b"delta" if stream else b"message")
    server.script.append((200, {}, [b"data: " + body + b"\n\n" if stream else body]))
    assert guard.chat("hello", stream=stream).status_code == 502


def test_a_packed_answer_is_refused_unread(guard, server):
    choice = {"index": 0, "message": {"content": "Fine. "}, "finish_reason": "stop"}
    packed = gzip.compress(json.dumps({"choices": [choice]}).encode())
    server.script.append((200, {"Content-Encoding": "gzip"}, [packed]))
    assert guard.chat("hello").status_code == 502
    assert server.requests[-1][1]["Accept-Encoding"] == "identity"


def test_a_stream_that_ends_without_done_is_whole_once_its_choices_finished(guard, server):
    server.script.append((200, {}, [server.event({"content": "Fine. "}), server.event({}, "stop")]))
    chunks = chunks_of(guard.chat("hello", stream=True))
    assert text_of(chunks) == "Fine. "
    assert chunks[-1]["tayguard"]["captured"] == "yes"


@pytest.mark.parametrize("end", [[], [b"data: [DONE]\n\n"]])
def test_a_choice_that_never_finished_is_an_error_and_no_stop(guard, server, end):
    server.script.append((200, {}, [server.event({"content": "Fine here. And "}), *end]))
    chunks = chunks_of(guard.chat("hello", stream=True))
    assert chunks[-1]["error"]["code"] == "upstream_error"


def test_who_finds_no_place_at_the_upstream_in_time_is_told_when_to_come_back(server):
    server.script += [(200, {}, [server.STALL])]

    async def ask(upstream):
        return [piece async for piece in upstream.stream(Asked("m", (), ()), "upstream:m")]

    async def run():
        upstream = HttpUpstream(server.url, limits=HttpLimits(timeout_s=0.3, max_concurrent=1))
        try:
            return await asyncio.gather(*[ask(upstream) for _ in range(4)], return_exceptions=True)
        finally:
            await upstream.close()

    first, *others = asyncio.run(run())
    assert isinstance(first, UpstreamError)
    late = [one for one in others if isinstance(one, OverloadedError)]
    assert late
    assert {one.retry_after for one in late} == {"1"}


def test_a_long_line_in_small_chunks_is_read_in_linear_time():
    class Response:
        async def aiter_bytes(self):
            for _ in range(60_000):
                yield b"a" * 32
            yield b"\r\nend"

    async def run():
        return [line async for line in Capped(Response(), HttpLimits()).lines()]

    started = time.process_time()
    first, last = asyncio.run(run())
    assert (len(first), last) == (1_920_000, b"end")
    assert time.process_time() - started < 5  # measured: 1 s; joined chunk by chunk over 10 s


def test_bots_that_hang_leave_the_threads_that_others_need(redis_url, bot_keys):
    bot = ScriptedBot("Fine. ", "")
    bot.go_on.clear()
    with serving(redis_url, bot_keys, upstream=embedded(bot)) as guard:
        waiting = [threading.Thread(target=guard.chat, args=("hello",)) for _ in range(12)]
        for thread in waiting:
            thread.start()
        until(lambda: len(bot.heard) == 12)
        bot.go_on.set()
        for thread in waiting:
            thread.join(20)
