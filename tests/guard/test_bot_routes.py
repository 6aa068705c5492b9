"""Rasa's REST channel and relays, over real sockets, in front of small real servers of those shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filters import Guardian
from guard.dialects.relay_settings import RelaySettings
from guard.upstream_mapped import RasaUpstream, RelayUpstream
from tests.fakes import ScriptedBot, UpstreamServer, WordFilter
from tests.guarding import POLICY, Guarded, embedded, serving

SHAPE: dict[str, Any] = {
    "text": "/input/text", "author": "/user", "conversation": "/session", "forward": ("/temperature", "/topic"),
    "constants": {"/bot": "b1"}, "reply": "/output/0/text", "passes": ("/took_ms", "/trace"),
}  # fmt: skip
GOOD_BAD_MORE = ("All is fine here.", "This one is bad.", "And here is more.")
PATH = "/v1"
STREAMS = {
    "sse": {"stream": "sse", "stream_flag": "/stream", "delta": "/delta", "end": "[DONE]"},
    "ndjson": {"stream": "ndjson", "stream_flag": "/stream", "delta": "/delta", "done": "/done"},
}


@pytest.fixture
def server() -> Iterator[UpstreamServer]:
    server = UpstreamServer()
    yield server
    server.close()


@pytest.fixture
def rasa(redis_url: str, bot_keys: Any, server: UpstreamServer) -> Iterator[Guarded]:
    with serving(redis_url, bot_keys, upstream=RasaUpstream(server.url, key="ours")) as running:
        yield running


@pytest.fixture
def guard(redis_url: str, bot_keys: Any, server: UpstreamServer) -> Iterator[Guarded]:
    """A guard with the relays ``sse`` and ``ndjson`` beside the embedded bot."""
    found = {name: RelaySettings(url=f"{server.url}/talk", **SHAPE, **more) for name, more in STREAMS.items()}
    relays = {name: (relay, RelayUpstream(name, relay, key="ours")) for name, relay in found.items()}
    with serving(redis_url, bot_keys, upstream=embedded(ScriptedBot()), relays=relays) as running:
        yield running


def hook(guard: Guarded, message: str, *, stream: bool = False, sender: str = "au1") -> httpx.Response:
    url = f"{guard.url}/webhooks/rest/webhook" + ("?stream=true" if stream else "")
    return httpx.post(url, json={"sender": sender, "message": message}, headers=guard.headers, timeout=30)


def relayed(guard: Guarded, text: str, name: str = "sse", **more: Any) -> httpx.Response:
    body = {"input": {"text": text}, "user": "au1", "session": "c1", **more}
    return httpx.post(f"{guard.url}/v1/relay/{name}", json=body, headers=guard.headers, timeout=30)


def asked(server: UpstreamServer) -> list[tuple[str, dict[str, str], dict[str, Any]]]:
    """Return what was posted; the guard also looks whether the server is there."""
    return [request for request in server.requests if request[2]]


def rows(*messages: dict[str, Any]) -> list[bytes]:
    return [json.dumps([{"recipient_id": "x", **message} for message in messages]).encode()]


def said(text: str, **more: Any) -> list[bytes]:
    return [json.dumps({"output": [{"text": text}], **more}).encode()]


def streamed(kind: str, pieces: list[str], *, ended: bool = True) -> list[bytes]:
    events = [json.dumps({"delta": piece}).encode() for piece in pieces]
    if kind == "sse":
        return [b"data: " + event + b"\n\n" for event in [*events, *([b"[DONE]"] if ended else [])]]
    return [event + b"\n" for event in [*events, *([b'{"done": true}'] if ended else [])]]


def read(kind: str, answer: httpx.Response) -> tuple[str, dict[str, Any]]:
    """Return a stream's text and the outcome in its last event; the stream must end as its shape says."""
    if kind == "sse":
        lines = [part.removeprefix("data: ") for part in answer.text.split("\n\n") if part]
        assert lines.pop() == "[DONE]"
    else:
        lines = answer.text.splitlines()
    events = [json.loads(line) for line in lines]
    if kind == "ndjson":
        assert [event["done"] for event in events] == [*[False] * (len(events) - 1), True]
    return "".join(event["delta"] for event in events), events[-1]["tayguard"]


def test_a_rasa_client_talks_to_the_embedded_bot(guard: Guarded) -> None:
    answer = hook(guard, "good morning")
    assert answer.json() == [{"recipient_id": "au1", "text": "You said: good morning"}]
    assert (answer.headers["X-Tayguard-Verdict"], answer.headers["X-Tayguard-Captured"]) == ("allow", "yes")


def test_a_rasa_server_answers_in_messages_and_never_learns_the_sender(rasa: Guarded, server: UpstreamServer) -> None:
    for _ in range(2):
        server.script.append((200, {}, rows({"text": "Hello."}, {"text": "How are you?"})))
        assert [row["text"] for row in hook(rasa, "hi").json()] == ["Hello.", "How are you?"]
    (_, first, one), (_, _, two) = asked(server)
    assert first["Authorization"] == "Bearer ours"
    assert set(one) == {"sender", "message"}
    assert one["sender"] == two["sender"] != "au1"


def test_a_blocked_message_never_reaches_a_rasa_server_and_waits_for_review(
    rasa: Guarded, server: UpstreamServer
) -> None:
    answer = hook(rasa, "something bad")
    assert answer.json() == [{"recipient_id": "au1", "text": "BLOCKED"}]
    assert answer.headers["X-Tayguard-Verdict"] == "block"
    assert not asked(server)
    assert [sample["state"] for sample in rasa.samples()] == ["quarantined"]


def test_a_rasa_stream_ends_at_the_first_bad_message(rasa: Guarded, server: UpstreamServer) -> None:
    lines = [json.dumps({"recipient_id": "x", "text": text}).encode() + b"\n" for text in GOOD_BAD_MORE]
    server.script.append((200, {}, lines))
    answer = hook(rasa, "hi", stream=True)
    assert [json.loads(line)["text"] for line in answer.text.splitlines()] == ["All is fine here.", "BLOCKED"]
    assert asked(server)[0][0].endswith("?stream=true")


def test_buttons_are_scored_and_pictures_are_unscored(rasa: Guarded, server: UpstreamServer) -> None:
    fine, bad = ({"title": title, "payload": "/go", "type": "x"} for title in ("Go on", "bad"))
    server.script += [
        (200, {}, rows({"text": "Choose.", "buttons": [fine]})),
        (200, {}, rows({"text": "Choose.", "buttons": [bad]})),
        (200, {}, rows({"text": "Look.", "image": "https://pictures.example/1.png"})),
    ]
    assert hook(rasa, "hi").json()[1] == {"recipient_id": "au1", "buttons": [{"title": "Go on", "payload": "/go"}]}
    assert [row["text"] for row in hook(rasa, "hi").json()] == ["BLOCKED"]
    picture = hook(rasa, "hi")
    assert [row["text"] for row in picture.json()] == ["UNSCORED"]
    assert picture.headers["X-Tayguard-Coverage"] == "0"


def test_an_openai_client_may_stand_in_front_of_rasa(rasa: Guarded, server: UpstreamServer) -> None:
    server.script.append((200, {}, rows({"text": "Hello."}, {"text": "Bye."})))
    assert rasa.chat("hi").json()["choices"][0]["message"]["content"] == "Hello.\n\nBye."
    assert rasa.chat("hi", n=2).status_code == 400


@pytest.mark.parametrize(("status", "expected"), [(429, 429), (500, 502), (401, 502)])
def test_errors_of_a_server_are_mapped(rasa: Guarded, server: UpstreamServer, status: int, expected: int) -> None:
    server.script.append((status, {"Retry-After": "7"}, [b"you are all bad"]))
    answer = hook(rasa, "hi")
    assert answer.status_code == expected
    assert "bad" not in answer.text
    assert (answer.headers.get("Retry-After") == "7") is (status == 429)


@pytest.mark.parametrize("body", [{}, {"message": 3}, {"message": " "}, {"message": "x", "sender": 3}])
def test_a_request_that_is_not_rasas_is_refused(guard: Guarded, body: dict[str, Any]) -> None:
    answer = httpx.post(f"{guard.url}/webhooks/rest/webhook", json=body, headers=guard.headers)
    assert answer.status_code == 400


def test_only_mapped_fields_pass_a_relay_in_either_direction(guard: Guarded, server: UpstreamServer) -> None:
    server.script.append((200, {}, said("Fine.", took_ms=3, trace="hidden text", extra="hidden")))
    answer = relayed(guard, "hello", temperature=0.5, secret="unscored text")
    assert answer.json() == {"output": [{"text": "Fine."}], "took_ms": 3}
    assert answer.headers["X-Tayguard-Captured"] == "yes"
    path, headers, body = asked(server)[0]
    assert (path, headers["Authorization"]) == (f"{PATH}/talk", "Bearer ours")
    names = (body.pop("user"), body.pop("session"))
    assert body == {"bot": "b1", "input": {"text": "hello"}, "stream": False, "temperature": 0.5}
    assert not {"au1", "c1"} & set(names)


def test_text_in_a_forwarded_field_is_scored(guard: Guarded, server: UpstreamServer) -> None:
    answer = relayed(guard, "hello", topic={"a": ["bad"]})
    assert answer.json() == {"output": [{"text": "BLOCKED"}]}
    assert not asked(server)


def test_a_blocked_reply_and_an_unscored_one_have_the_relays_shape(
    redis_url: str, bot_keys: Any, guard: Guarded, server: UpstreamServer
) -> None:
    server.script.append((200, {}, said("that is bad", took_ms=3)))
    answer = relayed(guard, "hello")
    assert (answer.json()["output"], answer.headers["X-Tayguard-Verdict"]) == ([{"text": "BLOCKED"}], "block")
    relays = guard.running.deps.relays
    with serving(redis_url, bot_keys, guardian=Guardian([WordFilter("raise")], POLICY), relays=relays) as broken:
        assert relayed(broken, "hello").json() == {"output": [{"text": "UNSCORED"}]}


@pytest.mark.parametrize("kind", ["sse", "ndjson"])
def test_a_relay_streams_in_its_shape_and_says_what_became_of_it(
    guard: Guarded, server: UpstreamServer, kind: str
) -> None:
    server.script.append((200, {}, streamed(kind, ["All is ", "fine. ", "Bye."])))
    text, outcome = read(kind, relayed(guard, "hello", kind, stream=True))
    assert text == "All is fine. Bye."
    assert outcome == {"verdict": "allow", "coverage": 1.0, "captured": "yes"}


@pytest.mark.parametrize("kind", ["sse", "ndjson"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.integers(1, 41), max_size=8))
def test_however_a_bad_text_is_cut_no_byte_of_it_leaves(
    guard: Guarded, server: UpstreamServer, kind: str, cuts: set[int]
) -> None:
    text = "All is fine here. This one is bad. And more."
    edges = [0, *sorted(cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    server.script.append((200, {}, streamed(kind, pieces)))
    told, outcome = read(kind, relayed(guard, "hello", kind, stream=True))
    assert told.strip() == "All is fine here."
    assert outcome["verdict"] == "block"


@pytest.mark.parametrize("kind", ["sse", "ndjson"])
def test_a_stream_that_breaks_off_is_never_taken_for_whole(guard: Guarded, server: UpstreamServer, kind: str) -> None:
    server.script.append((200, {}, streamed(kind, ["All is fine. ", "And"], ended=False)))
    answer = relayed(guard, "hello", kind, stream=True)
    _, outcome = read(kind, answer)
    assert outcome["verdict"] == "unscored"
    assert "error" in answer.text


def test_unknown_relays_and_keys_are_refused(guard: Guarded) -> None:
    assert relayed(guard, "hello", "other").status_code == 404
    body = {"input": {"text": "x"}}
    assert httpx.post(f"{guard.url}/v1/relay/sse", json=body).status_code == 401
    assert relayed(guard, "").status_code == 400
    assert httpx.post(f"{guard.url}/webhooks/other/webhook", json=body, headers=guard.headers).status_code == 404


def test_a_relays_server_that_is_down_is_a_bad_gateway(guard: Guarded, server: UpstreamServer) -> None:
    server.script.append((200, {}, [UpstreamServer.RESET]))
    assert relayed(guard, "hello").status_code == 502


def test_a_retry_is_answered_again_and_captured_once(guard: Guarded, server: UpstreamServer) -> None:
    server.script.append((200, {}, said("Fine.", took_ms=3)))
    headers = {**guard.headers, "Idempotency-Key": "k1"}
    body = {"input": {"text": "hello"}, "user": "au1", "session": "c1"}
    answers = [httpx.post(f"{guard.url}/v1/relay/sse", json=body, headers=headers, timeout=30) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert len(asked(server)) == len(guard.events()) == 1
