r"""Promise 10: text cannot forge a log line, reach a script or choose a path. Here the store's part."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learner.audit import Trail, verify
from learner.buffer import Buffer
from learner.buffer_calls import appeal
from learner.index import Index
from learner.lease import acquire
from learner.queue import Query
from learner.segments import Segments
from learner.session import BeginRequest, begin
from learner.settler import Settler
from learner.store import Keys, Store
from tests.exchanges import BAD, START_MS, StillClock, captured
from tests.hostile import HOSTILE_STRINGS

ANY_TEXT = st.text(st.characters(), max_size=40)
"""Every code point, lone surrogates among them."""


def seal(store: Store, keys: Keys, data_dir: Path) -> None:
    token = store.run(acquire(keys, "me", START_MS, 10**12)) or 0
    Settler(store, keys, data_dir, StillClock()).settle(token)


@pytest.mark.parametrize("text", HOSTILE_STRINGS, ids=range(len(HOSTILE_STRINGS)))
def test_hostile_text_in_every_field_comes_back_unchanged_and_forges_nothing(store, bot_keys, tmp_path, text) -> None:
    buffer = Buffer(store, bot_keys, StillClock(), settled=Index(tmp_path))
    verdict = {"reasons": [{"label": "insult", "score": 0.9, "threshold": 0.5, "detail": text}]}
    fields = {"prompt": text, "reply": text, "previous": text, "conversation": text, "author": "au1", "model": text}
    sample = captured(store, bot_keys, prompt_verdict=verdict, how=BAD, **fields)
    store.run(begin(bot_keys, BeginRequest("r2", START_MS, conversation=text, messages=("m",))))
    before = buffer.get(sample)
    assert (before.prompt, before.reply) == (text, text)
    buffer.feedback("r1", text, "up", text)
    store.run(appeal(bot_keys, "r1", text, text, START_MS))
    buffer.discard([sample, text], text, text)
    seal(store, bot_keys, tmp_path)
    assert buffer.get(sample).prompt == text
    assert buffer.find(Query(state="discarded", author=text)) == []
    assert Trail(store, bot_keys, tmp_path).exchange("r1").reply == text
    assert [event.type for event in Trail(store, bot_keys, tmp_path).events()] == [
        "exchange", "feedback", "appealed", "discarded",
    ]  # fmt: skip
    assert verify(tmp_path).whole


@pytest.mark.parametrize("text", HOSTILE_STRINGS, ids=range(len(HOSTILE_STRINGS)))
def test_no_reader_sees_more_lines_than_there_are_events(store, bot_keys, tmp_path, text) -> None:
    captured(store, bot_keys, prompt=text, reply=text, previous=text)
    seal(store, bot_keys, tmp_path)
    (name,) = Segments(tmp_path).names()
    content = (tmp_path / "log" / name).read_bytes()
    assert content.isascii()
    assert len(content.decode().splitlines()) == 1
    assert all(byte >= 0x20 or byte == 0x0A for byte in content)


def test_text_chooses_no_path_and_no_other_key(store, bot_keys, tmp_path) -> None:
    for n, text in enumerate(HOSTILE_STRINGS):
        captured(store, bot_keys, f"r{n}", prompt=text, reply=text, conversation=text)
    seal(store, bot_keys, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.sqlite", "log"]
    assert [path.name for path in (tmp_path / "log").iterdir()] == ["00000001.jsonl"]
    names = store._redis.keys(f"*{bot_keys.bot}*")
    assert all(name.startswith(bot_keys.prefix) for name in names)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(prompt=ANY_TEXT, reply=ANY_TEXT, previous=ANY_TEXT)
def test_any_text_survives_the_store(store, bot_keys, prompt, reply, previous) -> None:
    request_id = f"r{len(store._redis.keys(bot_keys.exchange('*')))}"
    sample = captured(store, bot_keys, request_id, prompt=prompt, reply=reply, previous=previous, how=BAD)
    found = Buffer(store, bot_keys, StillClock()).get(sample)
    assert (found.prompt, found.reply) == (previous, prompt)
    assert store.run(begin(bot_keys, BeginRequest("x", START_MS, f"c-{request_id}"))).last_reply == reply


def test_a_log_entry_that_is_not_ours_is_kept_as_data(store, bot_keys, tmp_path) -> None:
    for rubbish in ("not json", "[1]", '{"type": "released", "score": NaN}', '"text"'):
        store._redis.xadd(bot_keys.log, {"e": rubbish})
    seal(store, bot_keys, tmp_path)
    assert verify(tmp_path).whole
    kinds = [json.loads(line.raw)["event"] for line in Segments(tmp_path).lines("00000001.jsonl")]
    assert kinds == ["unreadable", "unreadable", "released", "unreadable"]
