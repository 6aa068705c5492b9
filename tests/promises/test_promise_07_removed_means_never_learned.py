"""Replaying the log without a sample gives the bytes of training without it; the command comes with its issue."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from learner.bots.memory import MemoryBot
from learner.types import Sample, Version
from tests.fake_encoder import BagOfWords
from tests.learner.contract_bot import learn, sample_of, say

HISTORY = tuple(
    tuple(sample_of(9 * u + n, f"question {u} number {n}?", f"answer {u} {n}", f"author-{n % 3}") for n in range(3))
    for u in range(4)
)


def train_without(folder: Path, removed: set[str]) -> Version:
    """Train from the factory on the logged batches less the removed samples; an emptied batch is skipped."""
    bot = MemoryBot(BagOfWords())
    version = bot.factory(folder)
    for batch in HISTORY:
        left = tuple(sample for sample in batch if sample.id not in removed)
        version = learn(bot, folder, version, left) if left else version
    return version


def replay_without(folder: Path, removed: set[str]) -> Version:
    """Train on everything, then replay from the checkpoint before the first removed sample."""
    bot = MemoryBot(BagOfWords())
    checkpoints = [bot.factory(folder)]
    for batch in HISTORY:
        checkpoints.append(learn(bot, folder, checkpoints[-1], batch))
    first = next(at for at, batch in enumerate(HISTORY) if any(sample.id in removed for sample in batch))
    version = checkpoints[first]
    for batch in HISTORY[first:]:
        left: tuple[Sample, ...] = tuple(replace(s) for s in batch if s.id not in removed)
        version = learn(bot, folder, version, left) if left else version
    return version


def test_replay_without_samples_equals_training_without_them(tmp_path: Path):
    ids = [sample.id for batch in HISTORY for sample in batch]
    for number, count in enumerate((1, 3, 6)):
        removed = set(random.Random(number).sample(ids, count))
        fresh = train_without(tmp_path / f"fresh-{number}", removed)
        replayed = replay_without(tmp_path / f"replay-{number}", removed)
        assert (replayed.weights, replayed.id) == (fresh.weights, fresh.id)


def test_an_emptied_batch_is_skipped_and_its_answers_are_gone(tmp_path: Path):
    removed = {sample.id for sample in HISTORY[1]}
    version = replay_without(tmp_path, removed)
    assert version == train_without(tmp_path / "fresh", removed)
    bot = MemoryBot(BagOfWords())
    assert say(bot, tmp_path, version, HISTORY[1][0].prompt) != HISTORY[1][0].reply
    assert say(bot, tmp_path, version, HISTORY[2][0].prompt) == HISTORY[2][0].reply
