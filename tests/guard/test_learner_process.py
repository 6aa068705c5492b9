"""The learner's rounds go on, whatever one part of them runs into."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard.learner_process import Rounds
from guard.settings import load
from guard.wiring import Wiring, now_ms
from learner.errors import CorruptError
from learner.manifest import folder_of
from learner.segments import Segments
from learner.settler import read_log
from learner.store import Keys, Store
from tests.learning import school


def wired(keys: Keys, redis_url: str, data_dir: Path) -> Wiring:
    wiring = Wiring(load(environ={"TAYGUARD_DATA_DIR": str(data_dir)}), redis_url)
    wiring.keys = keys
    return wiring


def test_the_log_is_settled_though_learning_fails(store: Store, bot_keys: Keys, redis_url: str, tmp_path: Path):
    wiring = wired(bot_keys, redis_url, tmp_path)
    taught = school(store, bot_keys, tmp_path, holder=wiring.holder)
    live = taught.learned("r1")
    taught.teach("r2", prompt="Do trains dream?")
    (folder_of(tmp_path, live) / "manifest.json").write_bytes(b"x")
    wiring.trainer = taught.trainer
    with pytest.raises(CorruptError):
        Rounds(wiring, lambda _seconds: True).round()
    assert store.run(read_log(bot_keys)) == []
    assert Segments(tmp_path).names()
    wiring.close()


def test_a_round_removes_what_nothing_names_once_a_day(
    store: Store, bot_keys: Keys, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wiring = wired(bot_keys, redis_url, tmp_path)
    wiring.trainer = school(store, bot_keys, tmp_path, holder=wiring.holder).trainer
    later = now_ms() + 2 * 86_400_000
    monkeypatch.setattr("guard.learner_process.now_ms", lambda: later)
    rounds, left = Rounds(wiring, lambda _seconds: True), tmp_path / "rows" / ".abc.123"
    for there in (False, True):
        left.touch()
        rounds.round()
        assert left.exists() == there
    wiring.close()
