"""The buffer: every way in and out of a state, and what refuses it."""

import pytest

from learner.buffer import Buffer
from learner.errors import ConflictError, UnknownIdError
from learner.lease import acquire
from learner.outcomes import BufferSettings
from learner.queue import Query
from learner.settler import read_log
from learner.store import Keys, Store
from tests.exchanges import BAD, FILTERS, HOUR_MS, START_MS, StillClock, captured

AFTER = 7 * HOUR_MS


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def buffer(store: Store, bot_keys: Keys, clock: StillClock) -> Buffer:
    return Buffer(store, bot_keys, clock)


@pytest.fixture
def token(store: Store, bot_keys: Keys, clock: StillClock) -> int:
    found = store.run(acquire(bot_keys, "learner-1", clock(), 60_000))
    assert found
    return found


def results(outcomes) -> list[str]:
    return [outcome.result for outcome in outcomes]


def test_what_is_due_and_like_no_other_is_admitted(store, bot_keys, buffer, clock, token) -> None:
    sample = captured(store, bot_keys)
    assert buffer.admit_due(token=token, epoch=0).admitted == ()
    clock.forward(AFTER)
    assert buffer.admit_due(token=token, epoch=0).admitted == (sample,)
    assert buffer.get(sample).state == "admitted"


def test_repeats_wait_for_independent_supporters(store, bot_keys, buffer, clock, token) -> None:
    young_ms = BufferSettings().young_ms
    ids = [captured(store, bot_keys, f"r{n}", author=f"a{n}", prompt="same", how={}) for n in range(4)]
    clock.forward(AFTER)
    done = buffer.admit_due(token=token, epoch=0)
    assert done.admitted == (ids[0],)
    assert done.waiting == 3
    clock.forward(young_ms)
    assert buffer.admit_due(token=token, epoch=0).admitted == tuple(ids[1:])


def test_all_young_authors_are_one_supporter(store, bot_keys, buffer, clock, token) -> None:
    for n in range(10):
        captured(store, bot_keys, f"r{n}", author=f"a{n}", prompt="same")
    clock.forward(AFTER)
    assert buffer.admit_due(token=token, epoch=0).waiting == 9


def test_repeats_of_what_a_reviewer_discarded_are_quarantined(store, bot_keys, buffer, clock, token) -> None:
    bad = captured(store, bot_keys, "r1", prompt="same", how=BAD)
    held = captured(store, bot_keys, "r2", prompt="same", author="au2")
    buffer.discard([bad], "rev1")
    clock.forward(AFTER)
    assert buffer.admit_due(token=token, epoch=0).quarantined == {held: "repeats_discarded"}
    buffer.undo("rev1")
    assert buffer.get(bad).state == "quarantined"


def test_the_live_policy_is_asked_at_admission(store, bot_keys, buffer, clock, token) -> None:
    sample = captured(store, bot_keys)
    clock.forward(AFTER)
    done = buffer.admit_due(token=token, epoch=0, judge=lambda _: "quarantine", filters=FILTERS)
    assert done.quarantined == {sample: "policy"}


@pytest.mark.parametrize("change", ["frozen", "epoch", "token"])
def test_a_learner_that_may_not_learn_is_refused(store, bot_keys, buffer, clock, token, change) -> None:
    sample = captured(store, bot_keys, how=BAD)
    buffer.release([sample], "rev1")
    if change == "token":
        assert store.run(acquire(bot_keys, "learner-2", clock() + 60_001, 60_000)) == token + 1
    else:
        store._redis.hset(bot_keys.state, change, "1")
    for act in (
        lambda: buffer.admit_due(token=token, epoch=0),
        lambda: buffer.draw(5, seed=1, token=token, epoch=0, judge=lambda _: "hold", filters=FILTERS),
        lambda: buffer.mark_drawn([sample], "u1", token=token, epoch=0),
    ):
        with pytest.raises(ConflictError):
            act()
    assert buffer.get(sample).update == ""


def test_a_release_admits_now_and_names_its_reviewer(store, bot_keys, buffer) -> None:
    sample = captured(store, bot_keys, how=BAD)
    assert results(buffer.release([sample, "nobody"], "rev1", "a joke")) == ["moved", "unknown"]
    assert (buffer.get(sample).state, buffer.get(sample).released_by) == ("admitted", "rev1")
    event = store.run(read_log(bot_keys))[-1][1]
    assert (event["type"], event["actor"], event["reason"]) == ("released", "rev1", "a joke")
    assert event["moves"][0][:3] == [sample, "quarantined", "admitted"]
    assert results(buffer.release([sample], "rev1")) == ["already"]


def test_what_cannot_be_learned_cannot_be_released(store, bot_keys, buffer) -> None:
    sample = captured(store, bot_keys, previous="", how=BAD)
    (outcome,) = buffer.release([sample], "rev1")
    assert (outcome.result, outcome.state) == ("refused", "quarantined")
    assert "reviewed only" in outcome.detail


def test_a_held_sample_is_not_released(store, bot_keys, buffer) -> None:
    sample = captured(store, bot_keys)
    (outcome,) = buffer.release([sample], "rev1")
    assert (outcome.result, outcome.detail) == ("refused", "it is held")


def test_discarded_samples_can_be_reopened(store, bot_keys, buffer) -> None:
    sample = captured(store, bot_keys, how=BAD)
    buffer.discard([sample], "rev1")
    assert results(buffer.reopen([sample], "rev1", "a mistake")) == ["moved"]
    assert buffer.get(sample).state == "quarantined"


def test_undo_reverts_the_last_decision_only(store, bot_keys, buffer) -> None:
    first, second, third = (captured(store, bot_keys, f"r{n}", how=BAD) for n in range(3))
    buffer.discard([first], "rev1")
    buffer.release([second, third], "rev1")
    assert results(buffer.undo("rev1")) == ["moved", "moved"]
    assert buffer.undo("rev1") == []
    assert [buffer.get(i).state for i in (first, second, third)] == ["discarded", "quarantined", "quarantined"]
    assert buffer.get(second).released_by == ""


def test_undo_leaves_what_somebody_else_moved_since(store, bot_keys, buffer) -> None:
    sample = captured(store, bot_keys, how=BAD)
    buffer.discard([sample], "rev1")
    buffer.reopen([sample], "omar")
    buffer.discard([sample], "omar")
    assert results(buffer.undo("rev1")) == ["refused"]
    assert buffer.get(sample).state == "discarded"


def test_requarantine_is_idempotent_and_spares_what_a_reviewer_decided_since(store, bot_keys, buffer, token) -> None:
    drawn = captured(store, bot_keys, "r1", how=BAD)
    held = captured(store, bot_keys, "r2")
    buffer.release([drawn], "rev1")
    buffer.mark_drawn([drawn], "u1", token=token, epoch=0)
    assert results(buffer.requarantine([drawn, held], "rollback", "olga", 1)) == ["moved", "moved"]
    assert buffer.counts()["drawn"] == 0
    buffer.release([drawn], "rev1")
    assert results(buffer.requarantine([drawn, held], "rollback", "olga", 1)) == ["already", "already"]
    assert buffer.get(drawn).state == "admitted"
    assert results(buffer.requarantine([drawn], "rollback", "olga", 2)) == ["moved"]


def test_what_a_version_answered_is_found(store, bot_keys, buffer) -> None:
    held = captured(store, bot_keys, "r1", version="v7")
    captured(store, bot_keys, "r2", version="v8")
    captured(store, bot_keys, "r3", version="v7", how=BAD)
    assert buffer.answered_by(["v7"]) == [held]


def test_an_unknown_sample_is_named_in_the_error(buffer) -> None:
    with pytest.raises(UnknownIdError, match="r9"):
        buffer.get("r9")


def test_find_filters_and_orders(store, bot_keys, buffer) -> None:
    def reasons(label: str, score: float):
        return {"reasons": [{"label": label, "score": score, "threshold": 0.5}]}

    low = captured(store, bot_keys, "r1", prompt_verdict=reasons("insult", 0.52), how=BAD)
    high = captured(store, bot_keys, "r2", prompt_verdict=reasons("threat", 0.9), author="au2", how=BAD)
    held = captured(store, bot_keys, "r3")
    assert [s.id for s in buffer.find()] == [high, low]
    assert [s.id for s in buffer.find(Query(order="uncertainty"))] == [low, high]
    assert [s.id for s in buffer.find(Query(label="threat"))] == [high]
    assert [s.id for s in buffer.find(Query(state=None, author="au1", order="age"))] == [low, held]
    assert [s.id for s in buffer.find(Query(since_ms=START_MS + 1))] == []
    assert [s.id for s in buffer.find(Query(limit=1))] == [high]


def test_samples_and_keys_past_their_deadline_end_with_an_event(store, bot_keys, buffer, clock) -> None:
    sample = captured(store, bot_keys)
    clock.forward(15 * 24 * HOUR_MS)
    swept = buffer.sweep()
    assert swept.expired == (sample,)
    assert swept.keys > 0
    assert buffer.get(sample).state == "expired"
    assert store.run(read_log(bot_keys))[-1][1]["reason"] == "deadline"
    assert not store._redis.exists(bot_keys.exchange("r1"))
    assert not store._redis.exists(bot_keys.conversation("c-r1"))


def test_queues_over_their_limit_end_the_oldest_held_and_the_least_risky_quarantined(store, bot_keys, clock) -> None:
    buffer = Buffer(store, bot_keys, clock, BufferSettings(max_held=1, max_quarantined=1))
    risky = {"reasons": [{"label": "insult", "score": 0.9, "threshold": 0.5}]}
    ids = [
        captured(store, bot_keys, "r1"),
        captured(store, bot_keys, "r2", finished_ms=START_MS + 1),
        captured(store, bot_keys, "r3", prompt_verdict=risky, how=BAD),
        captured(store, bot_keys, "r4", how=BAD),
    ]
    assert set(buffer.sweep().expired) == {ids[0], ids[3]}
    assert (buffer.counts()["held"], buffer.counts()["quarantined"], buffer.counts()["expired"]) == (1, 1, 2)


def test_undo_never_reaches_past_the_last_decision(store, bot_keys, buffer) -> None:
    first, second = (captured(store, bot_keys, f"r{n}", how=BAD) for n in range(2))
    buffer.discard([first], "rev1")
    many = [f"nobody-{n}" for n in range(500)]
    assert results(buffer.release([*many, second], "rev1"))[-1] == "moved"
    assert [outcome.id for outcome in buffer.undo("rev1")] == [second]
    assert buffer.get(first).state == "discarded"


def test_undo_takes_back_a_decision_on_more_samples_than_one_call_moves(store, bot_keys, buffer) -> None:
    first, second = (captured(store, bot_keys, f"r{n}", how=BAD) for n in range(2))
    buffer.release([first, *(f"nobody-{n}" for n in range(500)), second], "rev1")
    assert [outcome.id for outcome in buffer.undo("rev1")] == [first, second]


@pytest.mark.parametrize("how", ["reopen", "undo"])
def test_repeats_stay_out_while_one_of_those_a_reviewer_discarded_is(
    store, bot_keys, buffer, clock, token, how
) -> None:
    first, second = (captured(store, bot_keys, f"r{n}", prompt="same", author=f"a{n}", how=BAD) for n in range(2))
    buffer.discard([first], "omar")
    buffer.discard([second], "rev1")
    assert results(buffer.reopen([second], "rev1") if how == "reopen" else buffer.undo("rev1")) == ["moved"]
    held = captured(store, bot_keys, "r3", prompt="same", author="au2")
    clock.forward(AFTER)
    assert buffer.admit_due(token=token, epoch=0).quarantined == {held: "repeats_discarded"}
    buffer.reopen([first], "omar")
    late = captured(store, bot_keys, "r4", prompt="same", author="cat", finished_ms=clock())
    clock.forward(AFTER)
    assert buffer.admit_due(token=token, epoch=0).admitted == (late,)
