"""Rollback is one pointer: at once, verified first, sticky, audited, reversible, and no update in flight undoes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from learner import pointer
from learner.errors import ConflictError
from learner.session import pointer as worker_pointer
from learner.store import Keys, Store
from tests.learning import ANSWER, QUESTION, School, school


@pytest.fixture
def taught(store: Store, bot_keys: Keys, tmp_path: Path) -> School:
    return school(store, bot_keys, tmp_path)


def test_workers_see_it_in_under_a_second_and_it_is_one_log_entry(taught: School, store: Store, bot_keys: Keys):
    taught.learned()
    result = taught.parts.rollback.apply("previous", "olga", "bad answer")
    assert result.pointer_ms < 1000  # 5 ms measured, the verification of the target included
    assert store.run(worker_pointer(bot_keys)).live == result.live
    found = [json.loads(row["e"]) for _, row in store._redis.xrange(bot_keys.log)]
    (entry,) = [event for event in found if event["type"] == "rollback"]
    assert (entry["actor"], entry["reason"], entry["to"]) == ("olga", "bad answer", result.live)


def test_an_update_in_flight_cannot_undo_it(taught: School, monkeypatch: pytest.MonkeyPatch):
    taught.learned("r1")
    taught.teach("r2", prompt="Do trains dream?")
    train = taught.parts.bot.train

    def train_while_it_is_rolled_back(*args):
        taught.parts.rollback.apply("factory", "olga", "now")
        return train(*args)

    monkeypatch.setattr(taught.parts.bot, "train", train_while_it_is_rolled_back)
    assert taught.trainer.run_once().kind == "held"
    assert taught.live == taught.parts.versions.resolve("factory")
    assert taught.trainer.run_once().kind == "frozen"


@pytest.mark.parametrize("changed", [{"parent": "x"}, {"epoch": 99}, {"token": 99}, {"update": "x"}])
def test_promotion_is_refused_unless_everything_is_as_at_the_draw(
    taught: School, store: Store, bot_keys: Keys, monkeypatch: pytest.MonkeyPatch, changed: dict
):
    taught.teach("r1")
    promote = pointer.promote
    monkeypatch.setattr(pointer, "promote", lambda keys, event, record: promote(keys, {**event, **changed}, record))
    factory = taught.live
    assert taught.trainer.run_once().kind == "held"
    assert taught.live == factory


def test_it_sticks_and_can_be_reversed(taught: School):
    version = taught.learned()
    taught.parts.rollback.apply("factory", "olga", "")
    assert taught.trainer.run_once().kind == "frozen"
    taught.parts.rollback.undo("olga", "")
    assert taught.live == version
    assert taught.say(QUESTION) == ANSWER
    with pytest.raises(ConflictError):
        taught.parts.rollback.undo("olga", "")
