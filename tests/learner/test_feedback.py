"""Feedback is untrusted: counted once, capped, a condition to learn and never enough."""

import pytest

from learner.buffer import Buffer
from learner.buffer_calls import appeal
from learner.errors import UnknownIdError
from learner.lease import acquire
from learner.outcomes import BufferSettings
from learner.settler import read_log
from learner.store import Keys, Store
from tests.exchanges import BAD, HOUR_MS, START_MS, StillClock, captured

REINFORCE = {"mode": "reinforce"}


def test_a_rating_counts_once_per_request_and_author(store: Store, bot_keys: Keys) -> None:
    buffer = Buffer(store, bot_keys, StillClock())
    sample = captured(store, bot_keys, how=REINFORCE)
    assert buffer.feedback("r1", "au2", "up", "nice") == "recorded"
    assert buffer.feedback("r1", "au2", "down") == "duplicate"
    assert buffer.feedback("r1", "au3", "down") == "recorded"
    assert (buffer.notes(sample)["good"], buffer.notes(sample)["bad"]) == ("1", "1")
    events = [event for _, event in store.run(read_log(bot_keys)) if event["type"] == "feedback"]
    assert [(e["author"], e["rating"], e["comment"]) for e in events] == [("au2", "up", "nice"), ("au3", "down", "")]


def test_an_author_has_so_many_ratings_a_day(store: Store, bot_keys: Keys) -> None:
    clock = StillClock()
    buffer = Buffer(store, bot_keys, clock, BufferSettings(feedback_cap=1))
    for request_id in ("r1", "r2"):
        captured(store, bot_keys, request_id, how=REINFORCE)
    assert [buffer.feedback(r, "au2", "up") for r in ("r1", "r2")] == ["recorded", "capped"]
    clock.forward(24 * HOUR_MS)
    assert buffer.feedback("r2", "au2", "up") == "recorded"


def test_feedback_must_name_an_exchange(store: Store, bot_keys: Keys) -> None:
    with pytest.raises(UnknownIdError, match="X-Tayguard-Request-Id"):
        Buffer(store, bot_keys, StillClock()).feedback("r9", "au2", "up")


def test_a_reply_is_learned_after_good_feedback_only(store: Store, bot_keys: Keys) -> None:
    clock = StillClock()
    buffer = Buffer(store, bot_keys, clock)
    token = store.run(acquire(bot_keys, "l", START_MS, 60_000))
    liked, unloved = (captured(store, bot_keys, f"r{n}", how=REINFORCE) for n in range(2))
    buffer.feedback("r0", "au2", "up")
    buffer.feedback("r1", "au2", "down")
    assert buffer.admit_due(token=token, epoch=0).admitted == ()
    clock.forward(7 * HOUR_MS)
    assert buffer.admit_due(token=token, epoch=0).admitted == (liked,)
    assert buffer.get(unloved).state == "held"


def test_good_feedback_frees_nothing_from_quarantine(store: Store, bot_keys: Keys) -> None:
    buffer = Buffer(store, bot_keys, StillClock())
    sample = captured(store, bot_keys, how={**BAD, **REINFORCE})
    buffer.feedback("r1", "au2", "up")
    assert buffer.get(sample).state == "quarantined"


def test_an_appeal_is_noted_on_the_sample_once(store: Store, bot_keys: Keys) -> None:
    sample = captured(store, bot_keys, how=BAD)
    assert store.run(appeal(bot_keys, "r1", "au1", "I meant my dog", START_MS)) == "appealed"
    assert store.run(appeal(bot_keys, "r1", "au1", "again", START_MS)) == "duplicate"
    assert Buffer(store, bot_keys, StillClock()).notes(sample)["appealed"] == "1"
