"""Taking back: one pointer move, what was learned since is back in quarantine, and all of it can be reversed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from learner import pointer
from learner.errors import ConflictError, CorruptError, UnknownIdError
from learner.manifest import folder_of
from learner.session import pointer as worker_pointer
from learner.store import Keys, Store
from tests.learning import ANSWER, QUESTION, School, school


@pytest.fixture
def taught(store: Store, bot_keys: Keys, tmp_path: Path) -> School:
    return school(store, bot_keys, tmp_path)


def events(store: Store, keys: Keys) -> list[dict]:
    rows = store._redis.xrange(keys.log)
    return [json.loads(fields["e"]) for _, fields in rows]


def test_previous_is_what_was_live_before(taught: School, store: Store, bot_keys: Keys):
    factory = taught.live
    version = taught.learned()
    result = taught.parts.rollback.apply("previous", "olga", "bad answer")
    seen = store.run(worker_pointer(bot_keys))
    assert (seen.live, seen.previous, seen.frozen) == (factory, version, True)
    assert result.undone == (version,)
    assert taught.say(QUESTION) != ANSWER
    assert taught.state("r1.t") == "quarantined"
    assert taught.parts.versions.moves().rollback is None


def test_the_preview_says_what_the_rollback_does_and_changes_nothing(taught: School):
    version = taught.learned()
    waiting = taught.capture("r2", prompt=ANSWER, reply="Mine is green.", how={})
    plan = taught.parts.rollback.preview("factory")
    assert (plan.undone, plan.trained, plan.waiting) == ((version,), ("r1.t",), (waiting,))
    assert taught.live == version
    taught.parts.rollback.apply("factory", "olga", "why not")
    assert {taught.state("r1.t"), taught.state(waiting)} == {"quarantined"}


def test_every_act_is_logged_with_actor_and_reason(taught: School, store: Store, bot_keys: Keys):
    taught.learned()
    rollback = taught.parts.rollback
    rollback.apply("factory", "olga", "bad answer")
    rollback.undo("omar", "it was fine")
    rollback.thaw("omar", "go on")
    rollback.stop("olga", "fire")
    found = [(e["type"], e["actor"], e["reason"]) for e in events(store, bot_keys)]
    assert ("rollback", "olga", "bad answer") in found
    assert ("rollback_undone", "omar", "it was fine") in found
    assert ("thawed", "omar", "go on") in found
    assert ("stopped", "olga", "fire") in found
    assert [e["version"] for e in events(store, bot_keys) if e["type"] == "promoted"]


def test_learning_stays_frozen_until_it_is_thawed(taught: School):
    taught.learned()
    taught.parts.rollback.apply("factory", "olga", "")
    taught.parts.buffer.release(["r1.t"], "rita", "again")
    assert taught.trainer.run_once().kind == "frozen"
    taught.parts.rollback.thaw("olga", "")
    assert taught.trainer.run_once().kind == "promoted"
    assert taught.say(QUESTION) == ANSWER


def test_a_rollback_to_the_live_version_is_refused(taught: School):
    version = taught.learned()
    with pytest.raises(ConflictError, match="live already"):
        taught.parts.rollback.apply(version[:10], "olga", "")


def test_an_unknown_version_is_refused(taught: School):
    with pytest.raises(UnknownIdError, match="no version"):
        taught.parts.rollback.apply("beef1234", "olga", "")


def test_a_target_that_does_not_verify_is_refused_and_one_that_would_is_named(taught: School, tmp_path: Path):
    factory = taught.live
    first = taught.learned("r1")
    second = taught.learned("r2", prompt="Do trains dream?", reply="Only of tunnels.")
    path = folder_of(tmp_path, first) / "ranker.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(CorruptError, match=factory[:12]):
        taught.parts.rollback.apply("previous", "olga", "")
    assert taught.live == second


def test_an_undone_rollback_brings_version_and_samples_back(taught: School):
    version = taught.learned()
    waiting = taught.capture("r2", prompt=ANSWER, reply="Mine is green.", how={})
    update = taught.parts.buffer.get("r1.t").update
    rollback = taught.parts.rollback
    rollback.apply("factory", "olga", "bad answer")
    result = rollback.undo("olga", "it was fine")
    assert (taught.live, result.samples) == (version, 2)
    found = taught.parts.buffer.get("r1.t")
    assert (found.state, found.update, found.released_by) == ("admitted", update, "rita")
    assert taught.state(waiting) == "held"
    assert taught.parts.versions.moves().undone == frozenset()
    assert taught.parts.versions.moves().frozen
    with pytest.raises(ConflictError, match="no rollback to undo"):
        rollback.undo("olga", "once more")


def test_what_a_reviewer_touched_since_stays_as_it_is_when_a_rollback_is_undone(taught: School):
    taught.learned()
    taught.parts.rollback.apply("factory", "olga", "")
    taught.parts.buffer.discard(["r1.t"], "rita", "no")
    assert taught.parts.rollback.undo("olga", "").samples == 0
    assert taught.state("r1.t") == "discarded"


def test_a_rollback_that_crashed_half_way_is_finished_by_whoever_runs_next(
    taught: School, store: Store, bot_keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for n in range(3):
        taught.teach(f"r{n}", prompt=f"Question number {n}?", conversation=f"c{n}", author=f"a{n}")
    assert taught.trainer.run_once().kind == "promoted"
    monkeypatch.setattr("learner.rollback._STEP", 1)
    requarantine = taught.parts.buffer.requarantine
    done = []

    def killed_at_the_second(ids, *rest):
        if done:
            raise KeyboardInterrupt
        done.extend(ids)
        return requarantine(ids, *rest)

    monkeypatch.setattr(taught.parts.buffer, "requarantine", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        taught.parts.rollback.apply("factory", "olga", "")
    assert len([n for n in range(3) if taught.state(f"r{n}.t") == "quarantined"]) == 1
    after = school(store, bot_keys, tmp_path)
    assert after.trainer.run_once().kind == "frozen"
    assert [after.state(f"r{n}.t") for n in range(3)] == ["quarantined"] * 3
    assert after.parts.versions.moves().rollback is None
    assert after.parts.rollback.undo("olga", "").samples == 3


def test_two_rollbacks_at_once_move_the_pointer_once(taught: School, store: Store, bot_keys: Keys):
    version = taught.learned()
    event = {"id": "x", "from": "somebody else's", "to": version, "undone": [], "redone": [], "reverses": ""}
    with pytest.raises(ConflictError, match="another version is live"):
        store.run(pointer.roll_back(bot_keys, {**event, "at_ms": 1, "actor": "olga", "reason": ""}))
    assert taught.live == version


def test_what_an_undone_version_taught_can_be_released_and_learned_again(taught: School):
    taught.learned()
    sample = taught.capture("r2", prompt=ANSWER, reply="Mine is green.", how={})
    taught.parts.rollback.apply("factory", "olga", "")
    taught.parts.rollback.thaw("olga", "")
    taught.parts.buffer.release([sample], "rita", "harmless")
    assert taught.trainer.run_once().kind == "promoted"


def test_stopping_and_starting_goes_through_the_gate(taught: School, store: Store, bot_keys: Keys):
    parts = taught.parts
    parts.rollback.stop("olga", "fire")
    assert store.run(worker_pointer(bot_keys)).stopped
    with pytest.raises(ConflictError, match="already"):
        parts.rollback.stop("olga", "fire")
    assert parts.rollback.start("olga", "fire is out", parts.gate, parts.references).outcome == "pass"
    assert not store.run(worker_pointer(bot_keys)).stopped
    with pytest.raises(ConflictError, match="not stopped"):
        parts.rollback.start("olga", "", parts.gate, parts.references)


def test_freezing_twice_is_refused_with_a_sentence(taught: School):
    taught.parts.rollback.freeze("olga", "")
    with pytest.raises(ConflictError, match="frozen already"):
        taught.parts.rollback.freeze("olga", "")
    assert taught.parts.rollback.thaw("olga", "") == 2
