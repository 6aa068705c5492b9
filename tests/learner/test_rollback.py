"""Taking back: one pointer move, what was learned since is back in quarantine, and all of it can be reversed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from learner import buffer_calls as calls
from learner import pointer, policies
from learner.errors import ConflictError, CorruptError, UnknownIdError
from learner.lease import acquire
from learner.manifest import folder_of
from learner.references import shipped_probes
from learner.session import pointer as worker_pointer
from learner.settler import Settler
from learner.store import Keys, Store
from tests.exchanges import HOUR_MS
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
    taught.parts.buffer.release(["r1.t"], "rev1", "again")
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
    assert (taught.live, result.samples, result.returned) == (version, 0, 2)
    found = taught.parts.buffer.get("r1.t")
    assert (found.state, found.update, found.released_by) == ("admitted", update, "rev1")
    assert taught.state(waiting) == "held"
    assert taught.parts.versions.moves().undone == frozenset()
    assert taught.parts.versions.moves().frozen
    with pytest.raises(ConflictError, match="no rollback to undo"):
        rollback.undo("olga", "once more")


def test_what_a_reviewer_touched_since_stays_as_it_is_when_a_rollback_is_undone(taught: School):
    taught.learned()
    taught.parts.rollback.apply("factory", "olga", "")
    taught.parts.buffer.discard(["r1.t"], "rev1", "no")
    assert taught.parts.rollback.undo("olga", "").returned == 0
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
    assert after.parts.rollback.undo("olga", "").returned == 3


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
    taught.parts.buffer.release([sample], "rev1", "harmless")
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


def test_undoing_a_rollback_forward_takes_its_version_back_again(taught: School):
    factory, version = taught.live, taught.learned()
    rollback, clock = taught.parts.rollback, taught.parts.clock
    rollback.apply("factory", "olga", "")
    redone = rollback.apply(version, "olga", "it was fine")
    assert (redone.samples, redone.returned, taught.state("r1.t")) == (0, 1, "admitted")
    waiting = taught.capture("r2", prompt=ANSWER, reply="Mine is green.", how={})
    result = rollback.undo("olga", "it was not")
    assert (taught.live, result.undone, result.samples) == (factory, (version,), 2)
    assert version in taught.parts.versions.moves().undone
    assert {taught.state("r1.t"), taught.state(waiting)} == {"quarantined"}
    rollback.thaw("olga", "")
    clock.forward(7 * HOUR_MS)
    assert taught.trainer.run_once().kind == "nothing"


def test_what_a_rollback_forward_makes_live_again_is_not_learned_twice(taught: School):
    version = taught.learned()
    update = taught.parts.buffer.get("r1.t").update
    rollback, buffer = taught.parts.rollback, taught.parts.buffer
    rollback.apply("factory", "olga", "")
    buffer.release(["r1.t"], "omar", "harmless")
    rollback.apply(version, "olga", "so it was")
    assert (taught.state("r1.t"), buffer.get("r1.t").update) == ("admitted", update)
    buffer.reopen(["r1.t"], "rev1")
    buffer.release(["r1.t"], "rev1")
    rollback.thaw("olga", "")
    assert taught.trainer.run_once().kind == "nothing"


def test_a_sample_learned_anew_on_another_branch_belongs_to_the_branch_that_is_live(taught: School):
    first = taught.learned()
    update = taught.parts.buffer.get("r1.t").update
    rollback = taught.parts.rollback
    rollback.apply("factory", "olga", "")
    rollback.thaw("olga", "")
    taught.parts.buffer.release(["r1.t"], "rev1")
    taught.teach("r2", prompt="Do trains dream?", reply="Only of tunnels.")
    assert set(taught.trainer.run_once().samples) == {"r1.t", "r2.t"}
    rollback.apply(first, "olga", "the other one was better")
    found = taught.parts.buffer.get("r1.t")
    assert (found.state, found.update, taught.state("r2.t")) == ("admitted", update, "quarantined")


def test_an_undone_rollback_brings_back_what_trained_meanwhile_undrawn_and_spends_no_cap(
    taught: School, monkeypatch: pytest.MonkeyPatch
):
    version = taught.learned("r1", author="au2")
    taught.teach("r2", prompt="Do trains dream?", reply="Only of tunnels.", version=version)
    rollback, check = taught.parts.rollback, taught.parts.gate.check

    def check_and_roll_back(*args):
        rollback.apply("factory", "olga", "bad")
        return check(*args)

    with monkeypatch.context() as patch:
        patch.setattr(taught.parts.gate, "check", check_and_roll_back)
        assert taught.trainer.run_once().kind == "held"
    assert rollback.undo("olga", "").returned == 2
    found = taught.parts.buffer.get("r2.t")
    assert (found.state, found.update, taught.state("r1.t")) == ("admitted", "", "admitted")
    rollback.thaw("olga", "")
    assert taught.trainer.run_once().samples == ("r2.t",)
    spent = taught.parts.store.run(calls.spent(taught.parts.keys, taught.parts.clock()))
    assert (spent["a:au1"], spent["a:au2"], spent["*"]) == (1, 1, 2)


def test_undoing_a_rollback_that_crashed_half_way_is_finished_by_whoever_runs_next(
    taught: School, store: Store, bot_keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    version = taught.learned()
    rollback = taught.parts.rollback
    rollback.apply("factory", "olga", "")

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(taught.parts.buffer, "bring_back", killed)
    with pytest.raises(KeyboardInterrupt):
        rollback.undo("olga", "")
    after = school(store, bot_keys, tmp_path)
    assert (after.live, after.state("r1.t")) == (version, "quarantined")
    assert after.trainer.run_once().kind == "frozen"
    assert after.state("r1.t") == "admitted"
    assert after.parts.versions.moves().rollback is None
    with pytest.raises(ConflictError, match="no rollback to undo"):
        after.parts.rollback.undo("olga", "")


def test_names_and_reasons_that_are_no_text_are_kept_as_far_as_they_are(taught: School, store: Store, bot_keys: Keys):
    taught.learned()
    odd = "ol\ud800ga"
    taught.parts.rollback.apply("factory", odd, odd)
    taught.parts.rollback.thaw(odd, odd)
    store.run(policies.apply(bot_keys, "p2", "{}", actor=odd, reason=odd, at_ms=1))
    taught.parts.references.accept(shipped_probes(), odd, odd)
    told = {(e["type"], e["actor"], e["reason"]) for e in events(store, bot_keys)}
    for kind in ("rollback", "thawed", "policy", "references_accepted"):
        assert (kind, "ol?ga", "ol?ga") in told


@pytest.mark.parametrize("what", ["manifest", "folder", "update", "segment"])
def test_a_damaged_live_version_can_be_rolled_back(taught: School, tmp_path: Path, what: str):
    first = taught.learned("r1")
    live = taught.learned("r2", prompt="Do trains dream?", reply="Only of tunnels.")
    version = taught.parts.versions.get(live)
    if what == "manifest":
        (folder_of(tmp_path, live) / "manifest.json").write_bytes(b"x")
    elif what == "folder":
        shutil.rmtree(folder_of(tmp_path, live))
    elif what == "update":
        (tmp_path / "updates" / f"{version.update}.json").unlink()
    else:
        (tmp_path / "rows" / version.segments[-1] / "segment.json").write_bytes(b"x")
    assert taught.parts.rollback.preview(first).trained == ("r2.t",)
    result = taught.parts.rollback.apply(first, "olga", "broken")
    assert (taught.live, result.undone, result.samples) == (first, (live,), 1)
    assert [taught.state(f"r{n}.t") for n in (1, 2)] == ["admitted", "quarantined"]


def test_samples_of_an_update_that_is_gone_are_found_in_the_sealed_log(
    taught: School, store: Store, bot_keys: Keys, tmp_path: Path
):
    taught.learned("r1")
    for path in (tmp_path / "updates").glob("*.json"):
        path.write_bytes(b"x")
    token = store.run(acquire(bot_keys, "learner-1", taught.parts.clock(), 60_000)) or 0
    Settler(store, bot_keys, tmp_path, taught.parts.clock).settle(token)
    assert taught.parts.rollback.apply("factory", "olga", "broken").samples == 1
    assert taught.state("r1.t") == "quarantined"
