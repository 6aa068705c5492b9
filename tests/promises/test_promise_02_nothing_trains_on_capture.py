"""Promise 2: between capture and update lie cool-down, caps and the pattern rule, or a named reviewer's release."""

import pytest

from learner.buffer import Buffer
from learner.errors import ConflictError
from learner.lease import acquire
from learner.outcomes import BufferSettings
from learner.settler import read_log
from learner.store import Keys, Store
from tests.exchanges import BAD, FILTERS, HOUR_MS, START_MS, StillClock, captured

COOL_DOWN_MS = 6 * HOUR_MS


class Learner:
    def __init__(self, store: Store, keys: Keys, settings: BufferSettings | None = None) -> None:
        self.clock = StillClock()
        self.buffer = Buffer(store, keys, self.clock, settings)
        self.token = store.run(acquire(keys, "me", START_MS, 10**12)) or 0

    def learned(self, update: str = "u1") -> list[str]:
        self.buffer.admit_due(token=self.token, epoch=0)
        drawn = self.buffer.draw(100, seed=1, token=self.token, epoch=0, judge=lambda _: "hold", filters=FILTERS)
        ids = [sample.id for sample in drawn]
        self.buffer.mark_drawn(ids, update, token=self.token, epoch=0)
        return ids


def test_nothing_is_learned_before_the_cool_down_is_over(store: Store, bot_keys: Keys) -> None:
    learner = Learner(store, bot_keys)
    sample = captured(store, bot_keys)
    for forward in (0, COOL_DOWN_MS - 1):
        learner.clock.forward(forward)
        assert learner.learned() == []
    learner.clock.forward(1)
    assert learner.learned() == [sample]


def test_no_update_can_take_a_sample_that_was_not_admitted(store: Store, bot_keys: Keys) -> None:
    learner = Learner(store, bot_keys)
    for request_id, how in (("r1", {}), ("r2", BAD)):
        sample = captured(store, bot_keys, request_id, how=how)
        with pytest.raises(ConflictError):
            learner.buffer.mark_drawn([sample], "u1", token=learner.token, epoch=0)


def test_a_crowd_of_young_authors_repeating_one_pair_teaches_it_once(store: Store, bot_keys: Keys) -> None:
    learner = Learner(store, bot_keys)
    for n in range(20):
        captured(store, bot_keys, f"r{n}", author=f"a{n}", prompt="Repeat after me!")
    learner.clock.forward(COOL_DOWN_MS)
    assert len(learner.learned()) == 1
    assert learner.learned("u2") == []


def test_one_author_teaches_no_more_than_the_days_cap(store: Store, bot_keys: Keys) -> None:
    learner = Learner(store, bot_keys, BufferSettings(author_cap=3, conversation_cap=None))
    for n in range(9):
        captured(store, bot_keys, f"r{n}")
    learner.clock.forward(COOL_DOWN_MS)
    assert len(learner.learned()) == 3
    assert learner.learned("u2") == []
    learner.clock.forward(24 * HOUR_MS)
    assert len(learner.learned("u3")) == 3


def test_one_conversation_teaches_no_more_than_the_days_cap(store: Store, bot_keys: Keys) -> None:
    learner = Learner(store, bot_keys, BufferSettings(conversation_cap=2))
    for n in range(5):
        captured(store, bot_keys, f"r{n}", author=f"a{n}", conversation="c")
    learner.clock.forward(COOL_DOWN_MS)
    assert len(learner.learned()) == 2


def test_a_release_waives_cool_down_and_pattern_rule_and_is_audited(store: Store, bot_keys: Keys) -> None:
    learner = Learner(store, bot_keys)
    ids = [captured(store, bot_keys, f"r{n}", prompt="the same", how=BAD) for n in range(3)]
    learner.buffer.release(ids, "rev1", "harmless")
    assert sorted(learner.learned()) == ids
    released = [event for _, event in store.run(read_log(bot_keys)) if event["type"] == "released"]
    assert [(e["actor"], e["reason"], len(e["moves"])) for e in released] == [("rev1", "harmless", 3)]


def test_a_frozen_learner_learns_nothing(store: Store, bot_keys: Keys) -> None:
    learner = Learner(store, bot_keys)
    captured(store, bot_keys)
    learner.clock.forward(COOL_DOWN_MS)
    store._redis.hset(bot_keys.state, "frozen", "1")
    with pytest.raises(ConflictError, match="frozen"):
        learner.learned()
