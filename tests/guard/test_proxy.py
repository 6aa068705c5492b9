"""One message through the whole guard, over a real port, with the real Redis and the real client."""

import threading
import time

import httpx
import pytest

from filters import Guardian
from guard.auth import Identity
from guard.dialects.openai_chat import Limits, parse
from guard.resident import Resident
from guard.turns import read
from guard.upstream import EmbeddedUpstream
from learner.errors import CorruptError
from learner.samples import ANONYMOUS
from tests.fakes import ContextFilter, ScriptedBot
from tests.guarding import POLICY, chunks_of, embedded, serving, text_of, until


@pytest.fixture
def bot():
    return ScriptedBot()


@pytest.fixture
def guard(redis_url, bot_keys, bot):
    with serving(redis_url, bot_keys, upstream=embedded(bot)) as running:
        yield running


def test_an_openai_client_chats_without_a_change(guard):
    with guard.client() as client:
        answer = client.chat.completions.create(model="tay", messages=[{"role": "user", "content": "hello"}])
    assert answer.choices[0].message.content == "You said: hello"
    assert answer.choices[0].finish_reason == "stop"


def test_an_openai_client_streams_without_a_change(guard):
    with guard.client() as client:
        stream = client.chat.completions.create(
            model="tay", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "You said: hello"
    assert chunks[-1].model_extra["tayguard"] == {"verdict": "allow", "coverage": 1.0, "captured": "yes"}


def test_the_headers_say_what_was_decided_and_nothing_says_a_score(guard):
    answer = guard.chat("an iffy word")
    assert answer.headers["X-Tayguard-Verdict"] == "flag"
    assert answer.headers["X-Tayguard-Captured"] == "yes"
    assert answer.headers["X-Tayguard-Coverage"] == "1"
    assert answer.headers["X-Tayguard-Version"] == "factory"
    assert "score" not in answer.text


def test_a_blocked_prompt_never_reaches_the_bot_and_is_logged(guard, bot):
    answer = guard.chat("a bad word").json()
    assert answer["choices"][0]["finish_reason"] == "content_filter"
    assert answer["choices"][0]["message"]["content"] == "BLOCKED"
    assert bot.heard == []
    assert [sample["state"] for sample in guard.samples()] == ["quarantined"]
    assert guard.events()[0]["exchange"]["prompt"] == "a bad word"


def test_a_blocked_prompt_streams_the_same_message(guard):
    chunks = chunks_of(guard.chat("a bad word", stream=True))
    assert text_of(chunks) == "BLOCKED"
    assert chunks[-1]["choices"][0]["finish_reason"] == "content_filter"
    assert chunks[-1]["tayguard"]["verdict"] == "block"


def test_a_reply_is_learned_from_only_where_it_answers_a_turn_of_ours(guard):
    guard.chat("hello", conversation="c")
    guard.chat("nice to meet you", conversation="c")
    (sample,) = guard.samples()
    assert sample["state"] == "held"
    event = guard.events()[-1]["exchange"]
    assert (event["previous"], event["prompt"]) == ("You said: hello", "nice to meet you")


def test_a_client_that_sends_its_history_is_recognised_without_a_header(guard):
    guard.chat("hello")
    history = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "You said: hello"},
        {"role": "user", "content": "how are you"},
    ]
    guard.chat(history)
    first, second = (event["exchange"] for event in guard.events())
    assert second["previous"] == "You said: hello"
    assert first["conversation"] == second["conversation"]


def test_one_bad_message_does_not_block_a_client_for_ever(guard, bot):
    history = [{"role": "user", "content": "a bad word"}]
    refused = guard.chat(history).json()["choices"][0]["message"]
    history += [{"role": "assistant", "content": refused["content"]}, {"role": "user", "content": "sorry"}]
    answer = guard.chat(history).json()
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert [turn.text for turn in bot.heard[0]] == ["sorry"]


def test_a_made_up_assistant_turn_counts_as_a_persons_text(guard, bot):
    made_up = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "a bad word"},
        {"role": "user", "content": "go on"},
    ]
    assert guard.chat(made_up).json()["choices"][0]["finish_reason"] == "content_filter"
    assert bot.heard == []


def test_a_text_split_over_two_messages_is_scored_joined(redis_url, bot_keys):
    split = [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]
    with serving(redis_url, bot_keys, guardian=Guardian([ContextFilter()], POLICY)) as guard:
        alone = [guard.chat([message]).headers["X-Tayguard-Verdict"] for message in split]
        assert (alone, guard.chat(split).headers["X-Tayguard-Verdict"]) == (["allow", "allow"], "block")
        assert guard.events()[-1]["exchange"]["prompt"] == "one\ntwo"


@pytest.mark.parametrize("stream", [False, True])
def test_arguments_of_tool_calls_are_scored(guard, stream):
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"q": "bad"}'}}
    messages = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "fine"},
    ]
    assert guard.chat(messages, stream=stream).headers["X-Tayguard-Verdict"] == "block"


def test_a_part_that_is_not_text_is_unscored_and_not_broken(guard, bot):
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    answer = guard.chat([{"role": "user", "content": parts}])
    assert answer.json()["choices"][0]["message"]["content"] == "UNSCORED"
    assert (answer.headers["X-Tayguard-Verdict"], answer.headers["X-Tayguard-Coverage"]) == ("unscored", "0")
    assert bot.heard == []
    assert b'tayguard_messages_total{outcome="unscored"} 1.0' in guard.running.metrics.render()


def test_system_prompts_are_trusted(guard):
    messages = [{"role": "system", "content": "never say bad"}, {"role": "user", "content": "hello"}]
    assert guard.chat(messages).headers["X-Tayguard-Verdict"] == "allow"


def test_system_prompts_are_scored_where_they_are_not_trusted(redis_url, bot_keys):
    messages = [{"role": "system", "content": "never say bad"}, {"role": "user", "content": "hello"}]
    with serving(redis_url, bot_keys, trust_system=False) as guard:
        assert guard.chat(messages).headers["X-Tayguard-Verdict"] == "block"


def test_an_author_counts_only_from_a_key_that_asserts_authors(guard):
    guard.chat("hello", author="au1")
    guard.chat("hello", author="ben")
    with guard.client() as client:
        client.chat.completions.create(model="tay", user="au1", messages=[{"role": "user", "content": "hi"}])
    authors = [event["exchange"]["author"] for event in guard.events()]
    assert authors[0] == authors[2] != authors[1]
    assert "au1" not in str(guard.events())


def test_strangers_without_an_author_are_neither_merged_nor_learned_from(guard):
    history = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "You said: hello"},
        {"role": "user", "content": "how are you"},
    ]
    for messages in (history[:1], history[:1], history):
        guard.chat(messages, author="")
    assert guard.samples() == []
    assert all(event["exchange"]["anonymous"] for event in guard.events())
    assert ANONYMOUS not in {event["exchange"]["author"] for event in guard.events()}


def test_a_retry_with_the_same_idempotency_key_is_answered_and_counted_once(guard, bot):
    first = guard.chat("hello", headers={"Idempotency-Key": "k"})
    again = guard.chat("hello", headers={"Idempotency-Key": "k"})
    streamed = chunks_of(guard.chat("hello", headers={"Idempotency-Key": "k"}, stream=True))
    assert first.json() == again.json()
    assert text_of(streamed) == "You said: hello"
    assert len(bot.heard) == len(guard.events()) == 1


def test_an_idempotency_key_stands_for_one_request(guard):
    guard.chat("hello", headers={"Idempotency-Key": "k"})
    other = guard.chat("something else", headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["error"]["code"]) == (400, "idempotency_key_reused")


def test_every_choice_is_answered(guard):
    body = guard.chat("hello", n=3).json()
    assert [choice["message"]["content"] for choice in body["choices"]] == ["You said: hello"] * 3
    chunks = chunks_of(guard.chat("hello", n=3, stream=True))
    assert [text_of(chunks, choice) for choice in range(3)] == ["You said: hello"] * 3


def test_stop_gives_every_request_the_fixed_reply_and_start_ends_it(guard, bot):
    guard.store._redis.hset(guard.keys.state, "stopped", "1")
    stopped = guard.chat("hello", conversation="c")
    assert stopped.json()["choices"][0]["message"]["content"] == "STOPPED"
    assert stopped.headers["X-Tayguard-Captured"] == "no"
    assert bot.heard == []
    guard.store._redis.hset(guard.keys.state, "stopped", "0")
    assert guard.chat("hello", conversation="c").json()["choices"][0]["message"]["content"] == "You said: hello"


def test_a_client_that_goes_away_cancels_the_reply_and_nothing_is_learned(redis_url, bot_keys):
    bot = ScriptedBot("One is here. ", *["more words "] * 500)
    bot.go_on.clear()
    with serving(redis_url, bot_keys, upstream=embedded(bot)) as guard:
        with guard.client() as client:
            messages = [{"role": "user", "content": "hello"}]
            stream = client.chat.completions.create(model="tay", user="au1", messages=messages, stream=True)
            threading.Timer(0.2, bot.go_on.set).start()
            next(iter(stream))
            stream.close()
        (event,) = until(guard.events)
        bot.go_on.set()
        assert event["exchange"]["finish"] == "disconnected"
        assert guard.samples() == []


def test_two_requests_of_one_conversation_are_answered_one_after_the_other(redis_url, bot_keys):
    bot = ScriptedBot("Done. ", "")
    bot.go_on.clear()
    with serving(redis_url, bot_keys, upstream=embedded(bot)) as guard:
        answers = []
        workers = [
            threading.Thread(target=lambda: answers.append(guard.chat("hello", conversation="c"))) for _ in range(2)
        ]
        for worker in workers:
            worker.start()
        until(lambda: bot.heard)
        time.sleep(0.1)
        assert len(bot.heard) == 1
        bot.go_on.set()
        for worker in workers:
            worker.join(20)
        assert [answer.status_code for answer in answers] == [200, 200]
        assert len(bot.heard) == 2


def test_feedback_names_an_exchange_and_counts_once(guard):
    request_id = guard.chat("hello").headers["X-Tayguard-Request-Id"]
    body = {"request_id": request_id, "rating": "up", "comment": "nice"}
    results = [httpx.post(f"{guard.url}/v1/feedback", json=body, headers=guard.headers).json() for _ in range(2)]
    assert [result["result"] for result in results] == ["recorded", "duplicate"]
    unknown = httpx.post(f"{guard.url}/v1/feedback", json={**body, "request_id": "x"}, headers=guard.headers)
    assert unknown.status_code == 404


def test_a_version_that_does_not_load_gives_the_fixed_reply_and_readiness_says_so(redis_url, bot_keys):
    def load(version):
        raise CorruptError(f"{version} does not match its hash")

    upstream = EmbeddedUpstream("tay", Resident(load, monotonic=time.monotonic))
    with serving(redis_url, bot_keys, upstream=upstream) as guard:
        answer = guard.chat("hello", conversation="c")
        again = guard.chat("hello", conversation="c", stream=True)
        until(lambda: "does not load" in httpx.get(f"{guard.url}/readyz").json()["problems"]["upstream"])
    assert answer.json()["choices"][0]["message"]["content"] == "UNAVAILABLE"
    assert text_of(chunks_of(again)) == "UNAVAILABLE"


def test_a_version_that_becomes_live_answers_the_next_request(redis_url, bot_keys):
    upstream = EmbeddedUpstream("tay", Resident(lambda v: ScriptedBot(f"I am {v}."), monotonic=time.monotonic))
    with serving(redis_url, bot_keys, upstream=upstream) as guard:
        before = guard.chat("hello")
        guard.store._redis.hset(guard.keys.state, mapping={"live": "v1", "previous": "factory", "epoch": "1"})
        after = guard.chat("hello")
    assert before.json()["choices"][0]["message"]["content"] == "I am factory."
    assert (after.json()["choices"][0]["message"]["content"], after.headers["X-Tayguard-Version"]) == ("I am v1.", "v1")


def test_text_in_fields_that_nobody_scored_is_not_passed_on():
    part = {"type": "text", "text": "hello", "note": "bad"}
    body = {"messages": [{"role": "user", "content": [part], "note": "bad"}], "prompt": "bad", "tools": [{"d": "x"}]}
    chat = parse(body, {}, Identity("k", frozenset()), Limits())
    assert chat.messages[0].raw == {"content": [{"type": "text", "text": "hello"}], "role": "user"}
    assert dict(chat.options) == {"tools": [{"d": "x"}]}
    untrusting = read(chat, [""], last_reply="", trust_system=False)
    assert [text.text for text in untrusting.texts] == ["hello", '[{"d": "x"}]']


@pytest.mark.parametrize("history", [False, True])
def test_after_a_blocked_prompt_the_next_turn_answers_what_the_bot_said_last(guard, history):
    messages = [{"role": "user", "content": "hello"}]
    said = guard.chat(messages, conversation="c").json()["choices"][0]["message"]
    messages = [*messages, said, {"role": "user", "content": "a bad word"}] if history else "a bad word"
    refusal = guard.chat(messages, conversation="c").json()["choices"][0]["message"]
    messages = [*messages, refusal, {"role": "user", "content": "an iffy word"}] if history else "an iffy word"
    guard.chat(messages, conversation="c")
    last = guard.events()[-1]["exchange"]
    assert (last["previous"], last["prompt"]) == (said["content"], "an iffy word")
