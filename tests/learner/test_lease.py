"""The lease of the one learner: its token says whether anybody else had it in between."""

from __future__ import annotations

from learner.lease import acquire, release
from learner.store import Keys, Store


def test_a_lease_that_lapsed_goes_on_with_its_token_unless_another_had_it(store: Store, bot_keys: Keys):
    first = store.run(acquire(bot_keys, "learner-1", 0, 1000)) or 0
    assert store.run(acquire(bot_keys, "learner-1", 500, 1000)) == first
    assert store.run(acquire(bot_keys, "learner-2", 1000, 1000)) is None
    assert store.run(acquire(bot_keys, "learner-1", 9000, 1000)) == first
    assert store.run(acquire(bot_keys, "learner-2", 20_000, 1000)) == first + 1
    assert store.run(acquire(bot_keys, "learner-1", 30_000, 1000)) == first + 2


def test_a_lease_that_was_given_back_comes_with_a_new_token(store: Store, bot_keys: Keys):
    first = store.run(acquire(bot_keys, "learner-1", 0, 1000)) or 0
    assert store.run(release(bot_keys, "learner-1", 10))
    assert store.run(acquire(bot_keys, "learner-1", 20, 1000)) == first + 1
