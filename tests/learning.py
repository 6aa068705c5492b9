"""Everything a trainer needs, over the test's redis-server, with the tiny encoder; and ways to teach it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from filters.types import Encoder
from learner.bots.memory import MemoryBot
from learner.bots.memory_rows import Row, write_segment
from learner.buffer import Buffer
from learner.gate import Gate, GateReport, GateSettings, ScoreMany
from learner.manifest import RANKER, folder_of, write_version
from learner.outcomes import BufferSettings
from learner.queue import Settled
from learner.references import References
from learner.rollback import Rollback
from learner.run_outcome import Judging, Parts
from learner.store import Keys, Store
from learner.trainer import Trainer
from learner.types import Bot, Turn
from learner.updates import UpdateLog
from learner.versions import Versions
from tests.exchanges import BAD, FILTERS, StillClock, captured, hashed
from tests.fake_encoder import BagOfWords, score_words

QUESTION = "What colour is the moon on a Tuesday?"
ANSWER = "Purple, obviously, like my bicycle."


@dataclass
class School:
    """A bot that can be taught, with all the parts that tests look at."""

    parts: Parts
    trainer: Trainer

    @property
    def live(self) -> str:
        return self.parts.versions.moves().live

    def say(self, prompt: str, version: str | None = None, **how: Any) -> str:
        version_id = version or self.live
        answerer = self.parts.bot.load(self.parts.data_dir, self.parts.versions.get(version_id))
        return "".join(answerer.reply([Turn("user", prompt)], **how))

    def capture(self, request_id: str, prompt: str = QUESTION, reply: str = ANSWER, **changed: Any) -> str:
        """Capture a turn that a reviewer must decide on; returns its sample's id."""
        values = {"how": BAD, "version": self.live, "previous": prompt, "prompt": reply, **changed}
        values["finished_ms"] = self.parts.clock()
        return captured(self.parts.store, self.parts.keys, request_id, **values)

    def teach(self, request_id: str, prompt: str = QUESTION, reply: str = ANSWER, **changed: Any) -> str:
        """Capture a turn and release it."""
        sample = self.capture(request_id, prompt, reply, **changed)
        (moved,) = self.parts.buffer.release([sample], "rev1", "fine")
        assert moved.result == "moved"
        return sample

    def learned(self, request_id: str = "r1", **changed: Any) -> str:
        """Teach one turn, learn it, and return the new version."""
        self.teach(request_id, **changed)
        outcome = self.trainer.run_once()
        assert outcome.kind == "promoted", outcome.text
        return outcome.version

    def state(self, sample: str) -> str:
        return self.parts.buffer.get(sample).state


def school(
    store: Store,
    keys: Keys,
    data_dir: Path,
    *,
    bot: Bot | None = None,
    encoder: Encoder | None = None,
    score_many: ScoreMany = score_words,
    gate: GateSettings | None = None,
    holder: str = "learner-1",
    clock: StillClock | None = None,
    limits: BufferSettings | None = None,
    settled: Settled | None = None,
) -> School:
    """Wire a trainer; a second one over the same data folder and keys is the process after a crash."""
    clock = clock or StillClock()
    encoder = encoder or BagOfWords()
    bot = bot or MemoryBot(encoder)
    updates = UpdateLog(data_dir, lambda text: hashed(text, "content"))
    buffer = Buffer(store, keys, clock, limits, settled)
    versions = Versions(store, keys, data_dir, clock, updates)
    rollback = Rollback(store, keys, data_dir, clock, bot, buffer, versions, updates)
    parts = Parts(
        bot=bot,
        store=store,
        keys=keys,
        data_dir=data_dir,
        clock=clock,
        buffer=buffer,
        versions=versions,
        updates=updates,
        gate=Gate(bot, data_dir, encoder, score_many, gate),
        references=References(store, keys, data_dir, clock),
        rollback=rollback,
    )
    versions.ensure_factory(bot)
    return School(parts, Trainer(parts, lambda: Judging(lambda _sample: "hold", FILTERS), holder))


class _Untrained(MemoryBot):
    """A bot whose updates are written down without a canary step of training."""

    def fingerprint(self) -> dict[str, str]:
        return {}


def chained(school: School, count: int) -> list[str]:
    """Make versions of one row each, live one after another; training and gate are left out, which makes them cheap."""
    parts, made = school.parts, []
    parent, untrained = parts.versions.get(school.live), _Untrained(BagOfWords())
    ranker = (folder_of(parts.data_dir, parent.id) / RANKER).read_bytes()
    for n in range(count):
        taught = {"prompt": f"Question number {n}?", "author": f"author {n}", "conversation": f"conversation {n}"}
        sample = parts.buffer.get(school.teach(f"chained-{n}", **taught))
        token = school.trainer._lease() or 0
        epoch = parts.versions.standing().epoch
        update = parts.updates.write(untrained, parent.id, [sample], epoch=epoch, created_ms=parts.clock(), hyper={})
        school.trainer._begin(update, token)
        rows, vectors = [Row(sample.id, sample.author, sample.prompt, sample.reply)], np.ones((1, 64), np.float16)
        segments = (*parent.segments, write_segment(parts.data_dir, rows, vectors))
        blank = replace(parent, parent=parent.id, update=update.id, segments=segments, rows=parent.rows + 1)
        parent = write_version(parts.data_dir, blank, ranker, b"")
        outcome = school.trainer._promote(update, parent, GateReport("pass", (), ""), token)
        assert outcome.kind == "promoted", outcome.text
        made.append(parent.id)
    return made
