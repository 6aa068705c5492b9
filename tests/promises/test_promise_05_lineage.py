"""A reply names its version, a version names its samples, a sample names its verdicts, policy and filter versions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from learner.store import Keys, Store
from learner.trace import Trace
from learner.types import Turn
from tests.exchanges import FILTERS
from tests.learner.contract_bot import PROMPT, REPLY
from tests.learning import QUESTION, school

REPLAY = """
import json, sys
from pathlib import Path
from learner.bots.memory import MemoryBot
from learner.updates import UpdateLog
from tests.fake_encoder import BagOfWords
data, folder, update_id = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
bot = MemoryBot(BagOfWords())
log = UpdateLog(data, str)
update = log.read(update_id)
version = bot.train(folder, bot.factory(folder), update, log.inputs(update))
print(json.dumps({"id": version.id, "fingerprint": dict(bot.fingerprint())}))
"""


def test_a_reply_leads_to_its_version_samples_verdicts_policy_and_filters(store: Store, bot_keys: Keys, tmp_path: Path):
    taught = school(store, bot_keys, tmp_path)
    version = taught.learned("r1", author="au1")
    parts = taught.parts
    (first, *_) = Trace(parts.bot, tmp_path, parts.versions, parts.buffer).behind(version, [Turn("user", QUESTION)])
    line = first.line
    assert line is not None
    assert (line.id, line.author, line.request_id, line.policy) == ("r1.t", "au1", "r1", "p1")
    assert line.filters == FILTERS
    assert line.scores
    update = parts.updates.read(parts.versions.get(version).update)
    assert (update.id, update.samples) == (parts.buffer.get("r1.t").update, ("r1.t",))
    assert parts.versions.live_at(parts.clock()) == version


def test_a_logged_update_replays_to_the_same_version_in_another_process(store: Store, bot_keys: Keys, tmp_path: Path):
    taught = school(store, bot_keys, tmp_path / "data")
    version = taught.learned("r1", prompt=PROMPT, reply=REPLY)
    update = taught.parts.updates.read(taught.parts.versions.get(version).update)
    command = [sys.executable, "-c", REPLAY, str(tmp_path / "data"), str(tmp_path / "elsewhere"), update.id]
    there = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert there["id"] == version
    assert there["fingerprint"] == dict(update.fingerprint)
