"""What was live when, what each version learned from, and what an update's record holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from learner.errors import CorruptError, UnknownIdError
from learner.store import Keys, Store
from learner.types import FACTORY
from tests.exchanges import HOUR_MS, START_MS
from tests.learning import School, school


@pytest.fixture
def taught(store: Store, bot_keys: Keys, tmp_path: Path) -> School:
    return school(store, bot_keys, tmp_path)


def test_live_at_has_an_answer_for_any_time(taught: School):
    versions, clock = taught.parts.versions, taught.parts.clock
    factory = taught.live
    clock.forward(HOUR_MS)
    first = taught.learned("r1")
    clock.forward(HOUR_MS)
    taught.parts.rollback.apply(FACTORY, "olga", "")
    assert versions.live_at(START_MS - 1) is None
    assert versions.live_at(START_MS) == factory
    assert versions.live_at(START_MS + HOUR_MS - 1) == factory
    assert versions.live_at(START_MS + HOUR_MS) == first
    assert versions.live_at(START_MS + 5 * HOUR_MS) == factory


def test_two_moves_in_one_millisecond_keep_their_order(taught: School):
    first, second = taught.learned("r1"), taught.learned("r2", prompt="Do trains dream?")
    assert taught.parts.versions.live_at(START_MS) == second
    assert [v for _, v in taught.parts.versions.moves().moves][-2:] == [first, second]


def test_a_version_is_found_by_every_name_it_has(taught: School):
    versions = taught.parts.versions
    factory = taught.live
    taught.parts.clock.forward(HOUR_MS)
    first = taught.learned("r1")
    assert versions.resolve(first) == versions.resolve(first[:12]) == first
    assert versions.resolve("previous") == versions.resolve(FACTORY) == factory
    assert versions.resolve("2027-01-15T08:30:00") == factory
    assert versions.get(FACTORY).id == factory


@pytest.mark.parametrize("name", ["", "xyz", "../../etc/passwd", "2001-01-01", "zz\n"])
def test_what_names_no_version_is_one_clear_line(taught: School, name: str):
    with pytest.raises(UnknownIdError) as caught:
        taught.parts.versions.resolve(name)
    assert "\n" not in str(caught.value)


def test_a_version_that_is_not_there_cannot_be_got(taught: School):
    with pytest.raises(UnknownIdError, match="no version"):
        taught.parts.versions.get("a" * 64)


def test_show_names_samples_authors_and_verdicts(taught: School):
    taught.teach("r1", author="au1")
    taught.teach("r2", prompt="Do trains dream?", author="au2")
    version = taught.trainer.run_once().version
    page = taught.parts.versions.show(version[:12])
    assert {line.id for line in page.learned} == {"r1.t", "r2.t"}
    assert page.authors == {"au1": 1, "au2": 1}
    assert page.released_by == {"rev1": 2}
    assert {line.policy for line in page.learned} == {"p1"}
    assert (page.record.samples, page.record.authors, page.record.live) == (2, 2, True)
    assert page.record.gate["outcome"] == "pass"
    assert page.ancestry == (taught.parts.versions.resolve(FACTORY),)


def test_diff_names_what_only_one_side_learned(taught: School):
    first = taught.learned("r1")
    second = taught.learned("r2", prompt="Do trains dream?")
    diff = taught.parts.versions.diff(first, second)
    assert diff.only_first == ()
    assert [line.id for line in diff.only_second] == ["r2.t"]
    assert set(diff.probes) == {"small_talk", "safety", "learned"}


def test_the_list_begins_with_the_factory_and_marks_what_is_live_and_undone(taught: School):
    version = taught.learned("r1")
    taught.parts.rollback.apply(FACTORY, "olga", "")
    factory, learned = taught.parts.versions.list()
    assert (factory.factory, factory.live, factory.undone) == (True, True, False)
    assert (learned.id, learned.live, learned.undone) == (version, False, True)
    assert len(factory.promoted_ms) == 2


def test_the_factory_is_made_once(taught: School, store: Store, bot_keys: Keys, tmp_path: Path):
    factory = taught.live
    again = school(store, bot_keys, tmp_path)
    assert again.live == factory
    assert len(again.parts.versions.list()) == 1


def test_a_damaged_factory_is_made_anew(taught: School, store: Store, bot_keys: Keys, tmp_path: Path):
    factory = taught.parts.versions.get(FACTORY)
    (tmp_path / "rows" / factory.segments[0] / "rows.jsonl").write_bytes(b"{}")
    again = school(store, bot_keys, tmp_path)
    again.parts.bot.verify(tmp_path, factory)
    assert again.say("hello")


def test_the_same_lessons_give_the_same_version_whenever_they_are_learned(store: Store, tmp_path: Path, bot_keys: Keys):
    early, late = school(store, bot_keys, tmp_path / "a"), school(store, Keys(bot_keys.bot + "-2"), tmp_path / "b")
    late.parts.clock.forward(99 * HOUR_MS)
    assert early.learned("r1") == late.learned("r1")


def test_an_update_is_written_down_in_full_before_it_runs(taught: School, monkeypatch: pytest.MonkeyPatch):
    seen = []

    def look(folder, parent, update, inputs):
        seen.append(taught.parts.updates.read(update.id))
        assert inputs.exists()
        raise KeyboardInterrupt

    taught.teach("r1")
    monkeypatch.setattr(taught.parts.bot, "train", look)
    with pytest.raises(KeyboardInterrupt):
        taught.trainer.run_once()
    (update,) = seen
    assert update.parent == taught.live
    assert update.samples == ("r1.t",)
    assert update.content[0]
    assert update.content[0] not in ("r1.t", "")
    assert update.hyper["steps"] > 0
    assert update.code.startswith("tayguard")
    assert set(update.fingerprint) == {"encode", "step", "torch", "numpy"}


def test_a_damaged_update_is_refused_by_name(taught: School, tmp_path: Path):
    taught.learned("r1")
    (path,) = (tmp_path / "updates").glob("*.json")
    body = json.loads(path.read_bytes())
    body["update"]["seed"] += 1
    path.write_text(json.dumps(body))
    with pytest.raises(CorruptError, match="damaged"):
        taught.parts.updates.read(path.stem)
    (inputs,) = (tmp_path / "updates").glob("*.safetensors")
    assert inputs.stat().st_size < 5000  # one sample: 0.6 kB at 64 dimensions measured
    with pytest.raises(UnknownIdError):
        taught.parts.updates.read("b" * 64)
