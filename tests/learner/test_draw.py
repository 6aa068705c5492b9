"""The draw: who gets in, in what share, and under which caps."""

import pytest

from learner.buffer import Buffer
from learner.draw import fair_share
from learner.errors import ConflictError
from learner.lease import acquire, release
from learner.outcomes import BufferSettings
from learner.store import Keys, Store
from tests.exchanges import BAD, FILTERS, START_MS, StillClock, captured, exchange, samples


def sample_of(n: int, author: str, conversation: str = ""):
    return samples(exchange(f"r{n}", author=author, conversation=conversation or f"c{n}"))[0]


def test_authors_get_equal_shares_however_much_they_wrote() -> None:
    many = [sample_of(n, "loud") for n in range(50)] + [sample_of(100 + n, "quiet") for n in range(3)]
    drawn = fair_share(many, 6, 1, {}, {})
    assert sorted(s.author for s in drawn) == ["loud"] * 3 + ["quiet"] * 3


def test_the_same_seed_draws_the_same() -> None:
    many = [sample_of(n, f"a{n % 5}") for n in range(40)]
    assert fair_share(many, 10, 7, {}, {}) == fair_share(many, 10, 7, {}, {})
    assert fair_share(many, 10, 7, {}, {}) != fair_share(many, 10, 8, {}, {})


def test_caps_count_what_the_day_already_took() -> None:
    many = [sample_of(n, "au1", "c") for n in range(9)] + [sample_of(20, "au2")]
    assert len(fair_share(many, 99, 1, {"a:au1": 3}, {"author": 5})) == 3
    assert len(fair_share(many, 99, 1, {"c:c": 1}, {"conversation": 2})) == 2
    assert len(fair_share(many, 99, 1, {"*": 1}, {"total": 2})) == 1


@pytest.fixture
def token(store: Store, bot_keys: Keys) -> int:
    return store.run(acquire(bot_keys, "learner-1", START_MS, 60_000)) or 0


def draw(buffer: Buffer, token: int, judge=lambda _: "hold", filters=FILTERS):
    return [s.id for s in buffer.draw(50, seed=1, token=token, epoch=0, judge=judge, filters=filters)]


def admitted(store: Store, keys: Keys, buffer: Buffer, token: int, request_id: str = "r1", **changed) -> str:
    sample = captured(store, keys, request_id, how={"cool_down_s": 0}, **changed)
    assert sample in buffer.admit_due(token=token, epoch=0).admitted
    return sample


def test_scores_of_other_filter_versions_go_back_to_quarantine(store, bot_keys, token) -> None:
    buffer = Buffer(store, bot_keys, StillClock())
    sample = admitted(store, bot_keys, buffer, token)
    assert draw(buffer, token, filters={"toxicity": "f2"}) == []
    assert (buffer.get(sample).state, buffer.notes(sample)["reason"]) == ("quarantined", "stale_scores")


def test_a_stricter_policy_takes_out_what_no_reviewer_released(store, bot_keys, token) -> None:
    buffer = Buffer(store, bot_keys, StillClock())
    sample = admitted(store, bot_keys, buffer, token)
    released = captured(store, bot_keys, "r2", how=BAD)
    buffer.release([released], "rev1")
    assert draw(buffer, token, judge=lambda _: "reject") == [released]
    assert buffer.notes(sample)["reason"] == "policy"


def test_not_even_a_release_goes_over_the_author_cap(store, bot_keys, token) -> None:
    clock = StillClock()
    buffer = Buffer(store, bot_keys, clock, BufferSettings(author_cap=2))
    ids = [captured(store, bot_keys, f"r{n}", how=BAD) for n in range(4)]
    buffer.release(ids, "rev1")
    drawn = draw(buffer, token)
    assert len(drawn) == 2
    with pytest.raises(ConflictError, match="cap"):
        buffer.mark_drawn(ids, "u1", token=token, epoch=0)
    assert buffer.mark_drawn(drawn, "u1", token=token, epoch=0) == 2
    assert draw(buffer, token) == []
    clock.forward(24 * 3_600_000)
    assert len(draw(buffer, token)) == 2


def test_a_sample_is_drawn_once_and_marking_again_changes_nothing(store, bot_keys, token) -> None:
    buffer = Buffer(store, bot_keys, StillClock())
    sample = admitted(store, bot_keys, buffer, token)
    assert buffer.mark_drawn([sample], "u1", token=token, epoch=0) == 1
    assert buffer.mark_drawn([sample], "u1", token=token, epoch=0) == 0
    with pytest.raises(ConflictError, match="draw again"):
        buffer.mark_drawn([sample], "u2", token=token, epoch=0)
    assert draw(buffer, token) == []
    assert buffer.get(sample).update == "u1"
    assert buffer.undraw([sample], "u1", token=token, reason="gate") == 1
    assert draw(buffer, token) == [sample]


def test_all_of_a_batch_is_drawn_or_nothing(store, bot_keys, token) -> None:
    buffer = Buffer(store, bot_keys, StillClock())
    sample = admitted(store, bot_keys, buffer, token)
    held = captured(store, bot_keys, "r2")
    with pytest.raises(ConflictError, match=r"r2\.t"):
        buffer.mark_drawn([sample, held], "u1", token=token, epoch=0)
    assert buffer.get(sample).update == ""


def test_the_lease_has_one_holder_and_its_token_rises_when_it_was_lost(store, bot_keys, token) -> None:
    assert store.run(acquire(bot_keys, "learner-1", START_MS + 1, 60_000)) == token
    assert store.run(acquire(bot_keys, "learner-2", START_MS + 1, 60_000)) is None
    assert store.run(acquire(bot_keys, "learner-2", START_MS + 70_000, 60_000)) == token + 1
    assert not store.run(release(bot_keys, "learner-1", START_MS + 70_001))
    assert store.run(release(bot_keys, "learner-2", START_MS + 70_001))
    assert store.run(acquire(bot_keys, "learner-1", START_MS + 70_002, 60_000)) == token + 2
