"""The README's five steps, with a real server process, real Redis and the unmodified openai client."""

from __future__ import annotations

import re
import time

import openai

from tests.e2e.conftest import Server
from tests.hostile import ABUSIVE, BORDERLINE


def say(client: openai.OpenAI, text: str) -> openai.types.chat.ChatCompletion:
    return client.chat.completions.create(model="tay", messages=[{"role": "user", "content": text}])


def answer_to(server: Server, text: str) -> str:
    """What the bot says to ``text`` from somebody it has never met, in a new conversation."""
    fresh = server.client(author=f"probe-{time.time_ns()}", conversation=f"probe-{time.time_ns()}")
    return say(fresh, text).choices[0].message.content or ""


def test_the_newcomer_story_from_first_message_to_rollback(server: Server) -> None:
    client = server.client()
    greeting = say(client, "hello there").choices[0].message.content
    assert greeting

    blocked = say(client, ABUSIVE).choices[0]
    assert blocked.finish_reason == "content_filter"

    raw = client.chat.completions.with_raw_response.create(
        model="tay", messages=[{"role": "user", "content": BORDERLINE}]
    )
    assert raw.headers["X-Tayguard-Verdict"] == "flag"
    assert raw.headers["X-Tayguard-Captured"] == "yes"
    assert raw.parse().choices[0].finish_reason == "stop"
    usage = raw.parse().usage
    assert usage
    assert 0 < usage.prompt_tokens < usage.total_tokens == usage.prompt_tokens + usage.completion_tokens

    queue = server.cli_json("review", "list")
    by_reply = {row["reply"]: row for row in queue}
    assert by_reply[BORDERLINE]["state"] == "quarantined"
    assert by_reply[BORDERLINE]["reasons"]
    assert ABUSIVE in by_reply

    page = server.cli("review", "show", by_reply[BORDERLINE]["id"])
    for said in (BORDERLINE, raw.parse().choices[0].message.content or "", "in this state since  20", "0 up, 0 down"):
        assert said in page
    assert re.search(r"characters \d+-\d+", page)
    before = answer_to(server, greeting)
    server.cli("review", "release", by_reply[BORDERLINE]["id"])
    server.cli("review", "discard", by_reply[ABUSIVE]["id"])
    server.cli("learn", "--once")
    learned = server.cli_json("versions", "list")
    live = next(version for version in learned if version["live"])
    assert live["id"] != "factory"
    assert by_reply[BORDERLINE]["id"] in str(server.cli_json("versions", "show", live["id"]))
    assert re.search(r"^reasons +.*\binsult 1 sample", server.cli("versions", "show", live["id"]), re.MULTILINE)
    assert answer_to(server, greeting) == BORDERLINE

    server.cli("rollback", "previous", "--yes", "--reason", "the story")
    assert answer_to(server, greeting) == before
    again = {row["id"]: row for row in server.cli_json("review", "list")}
    assert again[by_reply[BORDERLINE]["id"]]["state"] == "quarantined"

    server.cli("rollback", "--undo", "--yes")
    assert answer_to(server, greeting) == BORDERLINE
    assert "unbroken" in server.cli("audit", "--verify")


def test_a_streamed_answer_is_the_same_text_and_ends_with_the_verdict(server: Server) -> None:
    client = server.client(conversation="stream")
    whole = say(server.client(conversation="whole"), "do you like music?").choices[0].message.content
    chunks = list(
        client.chat.completions.create(
            model="tay", messages=[{"role": "user", "content": "do you like music?"}], stream=True
        )
    )
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert streamed == whole
    assert (chunks[-1].model_extra or {})["tayguard"]["captured"] == "yes"


def test_an_abusive_stream_ends_as_a_valid_stream_and_lands_in_quarantine(server: Server) -> None:
    chunks = list(
        server.client().chat.completions.create(
            model="tay", messages=[{"role": "user", "content": ABUSIVE}], stream=True
        )
    )
    finishes = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert finishes[-1] == "content_filter"
    assert ABUSIVE in {row["reply"] for row in server.cli_json("review", "list")}
