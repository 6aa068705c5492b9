"""One update from a released sample to a live version, and everything that may stop it on the way."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from learner import lease, pointer
from learner.bots.memory import MemoryBot
from learner.capture import disown
from learner.errors import CorruptError, DataFolderError, LearnerError, UnknownIdError
from learner.manifest import folder_of
from learner.outcomes import BufferSettings
from learner.settler import read_log
from learner.split import find_culprits
from learner.store import Keys, Store
from tests.exchanges import HOUR_MS, exchange, samples
from tests.fake_encoder import BagOfWords, score_nothing, score_words
from tests.learning import ANSWER, QUESTION, School, school


@pytest.fixture
def taught(store: Store, bot_keys: Keys, tmp_path: Path) -> School:
    return school(store, bot_keys, tmp_path)


def test_a_released_sample_changes_the_answer(taught: School):
    before = taught.say(QUESTION)
    factory = taught.live
    sample = taught.teach("r1")
    outcome = taught.trainer.run_once()
    assert outcome.kind == "promoted", outcome.text
    assert before != ANSWER
    assert taught.say(QUESTION) == ANSWER
    assert taught.say(QUESTION, factory) == before
    assert taught.parts.buffer.get(sample).update == outcome.update


def test_a_fresh_install_says_that_there_is_nothing_to_learn(taught: School):
    outcome = taught.trainer.run_once()
    assert (outcome.kind, outcome.held) == ("nothing", 0)
    assert "review" in outcome.text


def test_what_is_held_is_not_learned_before_its_cool_down_and_then_it_is(taught: School):
    taught.capture("r1", how={})
    early = taught.trainer.run_once()
    assert (early.kind, early.held) == ("nothing", 1)
    assert "6 h 0 min" in early.text
    taught.parts.clock.forward(7 * HOUR_MS)
    late = taught.trainer.run_once()
    assert late.kind == "promoted"
    assert taught.say(QUESTION) == ANSWER


def test_nothing_is_learned_while_frozen(taught: School):
    taught.teach("r1")
    taught.parts.rollback.freeze("olga", "to look")
    assert taught.trainer.run_once().kind == "frozen"
    taught.parts.rollback.thaw("olga", "looked")
    assert taught.trainer.run_once().kind == "promoted"


def test_a_second_learner_finds_nothing_to_do(taught: School, store: Store, bot_keys: Keys):
    taught.teach("r1")
    store.run(lease.acquire(bot_keys, "learner-2", taught.parts.clock(), 60_000))
    assert taught.trainer.run_once().kind == "busy"


def test_a_rollback_between_draw_and_promotion_wins(taught: School, monkeypatch: pytest.MonkeyPatch):
    taught.learned("r0", prompt="Do trains dream?", reply="Only of tunnels.")
    sample = taught.teach("r1")
    check = taught.parts.gate.check

    def check_and_roll_back(*args):
        taught.parts.rollback.apply("factory", "olga", "in the middle of it")
        return check(*args)

    monkeypatch.setattr(taught.parts.gate, "check", check_and_roll_back)
    outcome = taught.trainer.run_once()
    moves = taught.parts.versions.moves()
    assert (outcome.kind, "roll" in outcome.text) == ("held", True), outcome.text
    assert moves.live == taught.parts.versions.resolve("factory")
    assert moves.pending == ""
    assert taught.state(sample) == "quarantined" or taught.parts.buffer.get(sample).update == ""


def test_a_disk_full_at_version_write_is_one_line_and_the_update_is_made_once_there_is_room(
    taught: School, monkeypatch: pytest.MonkeyPatch
):
    sample, before, rename = taught.teach("r1"), taught.live, Path.rename

    def full(self: Path, target: Path) -> Path:
        if "versions" in self.parts:
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", full)
        with pytest.raises(DataFolderError, match="disk full at version write") as caught:
            taught.trainer.run_once()
    assert "\n" not in str(caught.value)
    assert (taught.live, taught.state(sample)) == (before, "admitted")
    assert taught.trainer.run_once().kind == "promoted"
    assert taught.say(QUESTION) == ANSWER


def test_a_learner_that_lost_its_lease_cannot_promote(taught: School, store: Store, bot_keys: Keys, monkeypatch):
    taught.teach("r1")
    check = taught.parts.gate.check

    def check_too_slowly(*args):
        taught.parts.clock.forward(HOUR_MS)
        store.run(lease.acquire(bot_keys, "learner-2", taught.parts.clock(), 60_000))
        return check(*args)

    monkeypatch.setattr(taught.parts.gate, "check", check_too_slowly)
    factory = taught.live
    assert taught.trainer.run_once().kind == "held"
    assert taught.live == factory


class _KilledError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("where", ["begin", "mark_drawn", "train", "check", "promote"])
def test_an_update_that_a_crash_cut_off_is_finished_with_the_same_bytes(
    where, store: Store, bot_keys: Keys, tmp_path: Path, monkeypatch
):
    taught = school(store, bot_keys, tmp_path)
    taught.teach("r1")
    owner, name = {
        "begin": (pointer, "begin"),
        "mark_drawn": (taught.parts.buffer, "mark_drawn"),
        "train": (taught.parts.bot, "train"),
        "check": (taught.parts.gate, "check"),
        "promote": (pointer, "promote"),
    }[where]

    def killed(*args, **kwargs):
        raise _KilledError

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killed)
        with pytest.raises(_KilledError):
            taught.trainer.run_once()
    assert taught.live == taught.parts.versions.resolve("factory")
    after = school(store, bot_keys, tmp_path)
    outcome = after.trainer.run_once()
    assert outcome.kind == "promoted"
    assert after.parts.updates.read(outcome.update).samples == ("r1.t",)
    assert after.say(QUESTION) == ANSWER
    assert after.trainer.run_once().kind == "nothing"


def test_an_update_cut_off_before_a_freeze_is_given_up_and_its_samples_wait(taught: School, monkeypatch):
    sample = taught.teach("r1")

    def killed(*args, **kwargs):
        raise _KilledError

    with monkeypatch.context() as patch:
        patch.setattr(taught.parts.bot, "train", killed)
        with pytest.raises(_KilledError):
            taught.trainer.run_once()
    taught.parts.rollback.freeze("olga", "to look")
    assert taught.trainer.run_once().kind == "frozen"
    assert (taught.state(sample), taught.parts.buffer.get(sample).update) == ("admitted", "")
    taught.parts.rollback.thaw("olga", "looked")
    assert taught.trainer.run_once().kind == "promoted"


def test_a_filter_that_scores_nothing_holds_the_candidate(store: Store, bot_keys: Keys, tmp_path: Path):
    taught = school(store, bot_keys, tmp_path, score_many=score_nothing)
    sample = taught.teach("r1")
    outcome = taught.trainer.run_once()
    assert outcome.kind == "held"
    assert outcome.gate is not None
    assert outcome.gate.outcome == "inconclusive"
    assert (taught.state(sample), taught.parts.buffer.get(sample).update) == ("admitted", "")


def test_a_batch_that_fails_the_gate_loses_its_culprit_only(taught: School):
    talk = [probe.prompt for probe in taught.parts.references.live().small_talk]
    good = taught.teach("good", author="gina")
    bad = [
        taught.teach(f"bad{n}", p, "You idiot.", author="au2", conversation=f"c{n}") for n, p in enumerate(talk[:20])
    ]
    outcome = taught.trainer.run_once()
    assert outcome.kind == "rejected", outcome.text
    assert set(outcome.quarantined) == set(bad)
    assert {taught.parts.buffer.notes(i)["reason"] for i in bad} == {"gate"}
    assert taught.state(good) == "admitted"
    assert taught.trainer.run_once().kind == "promoted"
    assert taught.say(QUESTION) == ANSWER


def test_a_reviewed_borderline_turn_passes_the_gate(taught: School):
    taught.learned(prompt="What made you smile today?", reply="your stupid jokes, friend")
    assert taught.say("What made you smile today?") == "your stupid jokes, friend"


def test_a_full_bot_holds_the_update_and_says_what_to_do(store: Store, bot_keys: Keys, tmp_path: Path):
    encoder = BagOfWords()
    bot = MemoryBot(encoder, max_rows=MemoryBot(encoder).factory(tmp_path).rows)
    taught = school(store, bot_keys, tmp_path, bot=bot, encoder=encoder)
    taught.teach("r1")
    outcome = taught.trainer.run_once()
    assert outcome.kind == "held"
    assert "row cap" in outcome.text


def _batch(authors: str):
    return [samples(exchange(f"r{n}", author=author))[0] for n, author in enumerate(authors)]


def test_culprits_are_found_within_the_budget():
    runs = []

    def passes(part):
        runs.append(part)
        return all(sample.author != "m" for sample in part)

    found = find_culprits(_batch("abcdefghm"), passes, 5)
    assert "m" in {sample.author for sample in found}
    assert len(runs) <= 5


def test_a_batch_whose_parts_all_pass_is_quarantined_whole():
    batch = _batch("ab")
    assert find_culprits(batch, lambda part: True, 5) == batch


@pytest.mark.parametrize("act", ["reopen", "disown"])
def test_what_is_taken_back_while_its_update_trains_is_not_promoted(
    act: str, taught: School, store: Store, bot_keys: Keys, monkeypatch: pytest.MonkeyPatch
):
    factory, good = taught.live, taught.teach("r2", prompt="Do trains dream?", reply="Only of tunnels.")
    bad, buffer = taught.teach("r1"), taught.parts.buffer
    check = taught.parts.gate.check

    def check_and_take_back(*args):
        if act == "reopen":
            buffer.reopen([bad], "rev1")
        else:
            store.run(disown(bot_keys, "r1", taught.parts.clock()))
        return check(*args)

    with monkeypatch.context() as patch:
        patch.setattr(taught.parts.gate, "check", check_and_take_back)
        outcome = taught.trainer.run_once()
    assert (outcome.kind, "r1.t" in outcome.text, taught.live) == ("held", True, factory)
    assert [(buffer.get(i).state, buffer.get(i).update) for i in (bad, good)] == [("quarantined", ""), ("admitted", "")]
    assert taught.trainer.run_once().samples == (good,)


def test_what_is_taken_back_before_a_crash_is_not_learned_after_it(taught: School, store: Store, bot_keys: Keys):
    bad, train = taught.teach("r1"), taught.parts.bot.train

    def killed(*args):
        taught.parts.buffer.reopen([bad], "rev1")
        raise _KilledError

    taught.parts.bot.train = killed
    with pytest.raises(_KilledError):
        taught.trainer.run_once()
    taught.parts.bot.train = train
    assert taught.trainer.run_once().kind == "nothing"
    ended = [e["outcome"] for _, e in store.run(read_log(bot_keys)) if e["type"] == "update_ended"]
    assert ended == ["abandoned"]
    assert (taught.state(bad), taught.parts.buffer.get(bad).update) == ("quarantined", "")


@pytest.mark.parametrize("after", ["undo", "release"])
def test_a_reopened_lesson_is_still_the_versions_and_is_not_learned_twice(after: str, taught: School):
    version, buffer = taught.learned(), taught.parts.buffer
    update = buffer.get("r1.t").update
    buffer.reopen(["r1.t"], "rev1")
    assert (buffer.get("r1.t").state, buffer.get("r1.t").update) == ("quarantined", update)
    if after == "undo":
        buffer.undo("rev1")
    else:
        buffer.release(["r1.t"], "rev1")
    assert (buffer.get("r1.t").state, buffer.get("r1.t").update) == ("admitted", update)
    assert (taught.trainer.run_once().kind, taught.live) == ("nothing", version)


def test_a_broken_filter_does_not_spend_the_days_caps(store: Store, bot_keys: Keys, tmp_path: Path):
    broken = [True]

    def score_many(items):
        return score_nothing(items) if broken else score_words(items)

    taught = school(store, bot_keys, tmp_path, score_many=score_many)
    taught.teach("r1")
    for _ in range(BufferSettings().conversation_cap or 0):
        assert taught.trainer.run_once().gate is not None
    broken.clear()
    assert taught.trainer.run_once().kind == "promoted"


def test_what_is_admitted_over_the_days_caps_is_said_to_be(taught: School):
    for n in range(11):
        taught.teach(f"r{n}", prompt=f"Question {n}?", conversation="c")
    assert len(taught.trainer.run_once().samples) == 10
    outcome = taught.trainer.run_once()
    assert outcome.kind == "nothing"
    assert "1 admitted, over the day's caps" in outcome.text
    taught.parts.clock.forward(24 * HOUR_MS)
    assert len(taught.trainer.run_once().samples) == 1


def test_the_seed_in_the_log_is_the_updates(taught: School, store: Store, bot_keys: Keys):
    taught.teach("r1")
    outcome = taught.trainer.run_once()
    (begun,) = [event for _, event in store.run(read_log(bot_keys)) if event["type"] == "update_begun"]
    assert int(begun["seed"]) == taught.parts.updates.read(outcome.update).seed > 10**14


def test_a_training_run_that_outlasts_the_lease_is_promoted(taught: School, monkeypatch: pytest.MonkeyPatch):
    taught.teach("r1")
    train = taught.parts.bot.train

    def train_for_an_hour(*args):
        taught.parts.clock.forward(HOUR_MS)
        return train(*args)

    monkeypatch.setattr(taught.parts.bot, "train", train_for_an_hour)
    assert taught.trainer.run_once().kind == "promoted"


def test_a_lease_lost_before_an_old_update_is_given_up_holds_and_raises_nothing(
    taught: School, store: Store, bot_keys: Keys, monkeypatch: pytest.MonkeyPatch
):
    taught.teach("r1")

    def killed(*args):
        raise _KilledError

    with monkeypatch.context() as patch:
        patch.setattr(taught.parts.bot, "train", killed)
        with pytest.raises(_KilledError):
            taught.trainer.run_once()
    taught.parts.rollback.freeze("olga", "to look")

    def overtaken():
        taught.parts.clock.forward(HOUR_MS)
        store.run(lease.acquire(bot_keys, "learner-2", taught.parts.clock(), 60_000))

    monkeypatch.setattr(taught.parts.rollback, "resume", overtaken)
    assert taught.trainer.run_once().kind == "held"
    assert taught.parts.versions.standing().pending


def test_nothing_is_drawn_for_a_live_version_that_is_damaged(taught: School, tmp_path: Path):
    live = taught.learned("r1")
    sample = taught.teach("r2", prompt="Do trains dream?")
    path = folder_of(tmp_path, live) / "ranker.safetensors"
    whole = path.read_bytes()
    path.write_bytes(b"")
    for _ in range(2):
        with pytest.raises(CorruptError, match="ranker"):
            taught.trainer.run_once()
    assert taught.parts.versions.standing().pending == ""
    assert (taught.state(sample), taught.parts.buffer.get(sample).update) == ("admitted", "")
    path.write_bytes(whole)
    assert taught.trainer.run_once().kind == "promoted"


@pytest.mark.parametrize("error", [DataFolderError("disk full"), CorruptError("rows"), UnknownIdError("no version")])
def test_an_update_whose_files_fail_is_ended_and_its_samples_wait(taught: School, monkeypatch, error: LearnerError):
    sample = taught.teach("r1")

    def fails(*args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(taught.parts.bot, "train", fails)
        with pytest.raises(type(error)):
            taught.trainer.run_once()
    assert taught.parts.versions.standing().pending == ""
    assert (taught.state(sample), taught.parts.buffer.get(sample).update) == ("admitted", "")
    assert taught.trainer.run_once().kind == "promoted"


def test_a_round_with_nothing_to_do_does_not_read_every_version(taught: School, store: Store, monkeypatch):
    taught.learned("r1")
    run, read = store.run, []

    def noted(call):
        read.append((call.script, call.args))
        return run(call)

    monkeypatch.setattr(store, "run", noted)
    assert taught.trainer.run_once().kind == "nothing"
    assert ("versions_read", ("",)) in read
    assert ("versions_read", ("all",)) not in read


def test_an_update_cut_off_whose_file_is_gone_gives_its_samples_back(taught: School, monkeypatch: pytest.MonkeyPatch):
    sample = taught.teach("r1")

    def killed(*args):
        for path in (taught.parts.data_dir / "updates").glob("*.json"):
            path.unlink()
        raise _KilledError

    with monkeypatch.context() as patch:
        patch.setattr(taught.parts.bot, "train", killed)
        with pytest.raises(_KilledError):
            taught.trainer.run_once()
    assert taught.trainer.run_once().samples == (sample,)
