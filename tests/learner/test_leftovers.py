"""Files that nothing names are removed once they are a day old; lineage never is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from learner.folder import write_folder
from learner.leftovers import remove_leftovers
from learner.store import Keys, Store
from tests.exchanges import BAD, StillClock
from tests.fake_encoder import score_nothing
from tests.learning import School, school

DAY_MS = 86_400_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def taught(store: Store, bot_keys: Keys, tmp_path: Path) -> School:
    return school(store, bot_keys, tmp_path, clock=StillClock(now_ms() - 1000))


def sweep(taught: School, at_ms: int) -> int:
    parts = taught.parts
    return remove_leftovers(parts.data_dir, parts.versions.moves(), parts.updates, at_ms)


def files(folder: Path) -> set[str]:
    found = {str(path.relative_to(folder)) for path in folder.glob("*/*")}
    return {name for name in found if name.startswith(("versions/", "rows/", "updates/"))}


def test_a_candidate_that_was_not_promoted_goes_with_its_rows_and_its_update(
    taught: School, store: Store, bot_keys: Keys, tmp_path: Path
):
    taught.learned("r1")
    taught.learned("r2", prompt="Do trains dream?")
    taught.parts.rollback.apply("previous", "olga", "")
    taught.parts.rollback.thaw("olga", "")
    lineage = files(tmp_path)
    unsure = school(store, bot_keys, tmp_path, clock=taught.parts.clock, score_many=score_nothing)
    unsure.teach("r3", prompt="Why is the sky?", reply="It felt like it.", how=BAD)
    assert unsure.trainer.run_once().kind == "held"
    assert len(files(tmp_path) - lineage) == 4
    assert sweep(taught, now_ms() + DAY_MS // 2) == 0
    assert sweep(taught, now_ms() + 2 * DAY_MS) == 4
    assert files(tmp_path) == lineage
    assert sweep(taught, now_ms() + 2 * DAY_MS) == 0


def test_an_update_under_way_keeps_what_it_is_made_of(taught: School, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def killed(*args):
        raise KeyboardInterrupt

    taught.teach("r1")
    with monkeypatch.context() as patch:
        patch.setattr(taught.parts.bot, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            taught.trainer.run_once()
    before = files(tmp_path)
    assert sweep(taught, now_ms() + 2 * DAY_MS) == 0
    assert files(tmp_path) == before
    assert taught.trainer.run_once().kind == "promoted"


def test_what_a_killed_write_or_a_repair_left_goes(taught: School, tmp_path: Path):
    write_folder(tmp_path / "versions" / ".abc.123", {"manifest.json": b""}, "version write")
    write_folder(tmp_path / "rows" / ".damaged.abc.123", {"rows.jsonl": b""}, "version write")
    (tmp_path / "updates").mkdir(exist_ok=True)
    (tmp_path / "updates" / ".inputs.123").touch()
    assert sweep(taught, now_ms() + 2 * DAY_MS) == 3
    assert not [name for name in files(tmp_path) if "/." in name]


def test_what_is_older_than_the_records_stays(store: Store, bot_keys: Keys, tmp_path: Path):
    school(store, bot_keys, tmp_path).learned("r1")
    before = files(tmp_path)
    other = school(store, Keys(f"{bot_keys.bot}-renamed"), tmp_path, clock=StillClock(now_ms() + DAY_MS))
    assert sweep(other, now_ms() + 9 * DAY_MS) == 0
    assert files(tmp_path) == before


def test_rows_and_inputs_stay_while_a_file_that_may_name_them_cannot_be_read(taught: School, tmp_path: Path):
    version = taught.learned("r1")
    (tmp_path / "versions" / version / "manifest.json").write_bytes(b"x")
    (update,) = (tmp_path / "updates").glob("*.json")
    update.write_bytes(b"x")
    before = files(tmp_path)
    assert sweep(taught, now_ms() + 2 * DAY_MS) == 0
    assert files(tmp_path) == before
