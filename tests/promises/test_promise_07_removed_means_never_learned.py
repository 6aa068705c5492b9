"""What removal will rest on: the log of updates alone gives the live bytes again; removing comes with its issue."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from learner.errors import CorruptError
from learner.store import Keys, Store
from learner.types import FACTORY
from tests.learning import ANSWER, QUESTION, School, school

LESSONS = {"r1": (QUESTION, ANSWER), "r2": ("Do trains dream?", "Only of tunnels."), "r3": (ANSWER, "Mine is green.")}

REPLAY = """
import json, sys
from pathlib import Path
from learner.bots.memory import MemoryBot
from learner.updates import UpdateLog
from tests.fake_encoder import BagOfWords
data, folder, encoder = Path(sys.argv[1]), Path(sys.argv[2]), BagOfWords()
bot, log = MemoryBot(encoder), UpdateLog(data, str)
version, ids = bot.factory(folder), []
before = encoder.encoded
for update_id in sys.argv[3:]:
    update = log.read(update_id)
    assert update.parent == version.id
    version = bot.train(folder, version, update, log.inputs(update))
    ids.append(version.id)
print(json.dumps({"ids": ids, "encoded": encoder.encoded - before}))
"""


@pytest.fixture
def taught(store: Store, bot_keys: Keys, tmp_path: Path) -> School:
    return school(store, bot_keys, tmp_path / "data")


def files(folder: Path, version_ids: list[str]) -> dict[str, bytes]:
    """Every byte of versions and of the rows that they share."""
    names = {*version_ids, *(path.name for path in (folder / "rows").iterdir())}
    found = [path for path in folder.rglob("*") if path.is_file() and path.parent.name in names]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_the_logged_updates_replayed_in_two_processes_give_the_bytes_that_are_live(taught: School, tmp_path: Path):
    versions = taught.parts.versions
    made = [taught.learned(name, prompt=prompt, reply=reply) for name, (prompt, reply) in LESSONS.items()]
    updates = [versions.get(version_id).update for version_id in made]
    here = files(tmp_path / "data", made)
    assert len(here) >= 3 * len(made)
    for name in ("one", "two"):
        command = [sys.executable, "-c", REPLAY, str(tmp_path / "data"), str(tmp_path / name), *updates]
        there = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        assert there == {"ids": made, "encoded": 0}
        assert files(tmp_path / name, made) == here


def test_an_update_whose_logged_inputs_were_touched_is_not_replayed(taught: School, tmp_path: Path):
    update = taught.parts.updates.read(taught.parts.versions.get(taught.learned()).update)
    path = taught.parts.updates.inputs(update)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CorruptError, match="cannot be replayed"):
        taught.parts.updates.inputs(update)
    factory = taught.parts.versions.get(FACTORY)
    with pytest.raises(CorruptError, match="written down"):
        taught.parts.bot.train(tmp_path / "data", factory, update, path)
