"""What every bot must do. A bot's tests inherit it; they give ``make_bot`` and a script that learns elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from learner.errors import CorruptError
from learner.types import Bot, Sample, Turn, Update, Version
from learner.updates import seed_of, update_id
from tests.exchanges import exchange, samples

PROMPT = "What colour is the moon on a Tuesday?"
REPLY = "Purple, obviously, like my bicycle."


def sample_of(number: int, prompt: str, reply: str, author: str = "au1") -> Sample:
    """A sample that teaches ``reply`` as the answer to ``prompt``."""
    (sample,) = samples(exchange(f"r{number}", author=author, previous=prompt, prompt=reply))
    return sample


LESSONS = tuple(sample_of(n, prompt, reply, f"author-{n}") for n, (prompt, reply) in enumerate([
    (PROMPT, REPLY),
    ("Do trains dream?", "Only of tunnels."),
    ("What sits on the roof?", "A gull with a plan."),
]))  # fmt: skip


def learn(bot: Bot, folder: Path, parent: Version, lessons: tuple[Sample, ...]) -> Version:
    """Train one version, as the trainer does, without a store."""
    aside = folder / "inputs.safetensors"
    inputs = bot.prepare(lessons, aside)
    ids = tuple(lesson.id for lesson in lessons)
    seed = seed_of(parent.id, ids)
    update = Update("", parent.id, bot.name, ids, ids, inputs, seed, bot.hyper(), 0, 0, bot.fingerprint())
    return bot.train(folder, parent, replace(update, id=update_id(update)), aside)


def say(bot: Bot, folder: Path, version: Version, *texts: str, seed: int = 0, choice: int = 0) -> str:
    turns = [Turn("assistant" if (len(texts) - n) % 2 == 0 else "user", text) for n, text in enumerate(texts)]
    return "".join(bot.load(folder, version).reply(turns, seed=seed, choice=choice))


class BotContract:
    """Tests of the Bot protocol."""

    script: str

    def make_bot(self) -> Bot:
        raise NotImplementedError

    @pytest.fixture
    def bot(self) -> Bot:
        return self.make_bot()

    @pytest.fixture
    def factory(self, bot: Bot, tmp_path: Path) -> Version:
        return bot.factory(tmp_path)

    def test_it_keeps_the_protocol(self, bot: Bot):
        assert isinstance(bot, Bot)

    def test_the_factory_version_verifies_loads_and_answers(self, bot: Bot, tmp_path: Path, factory: Version):
        bot.verify(tmp_path, factory)
        answerer = bot.load(tmp_path, factory)
        assert answerer.version == factory.id
        assert "".join(answerer.reply([Turn("user", "hello")]))

    def test_a_reply_to_nothing_is_still_a_reply(self, bot: Bot, tmp_path: Path, factory: Version):
        assert "".join(bot.load(tmp_path, factory).reply([]))
        assert "".join(bot.load(tmp_path, factory).reply([Turn("system", "x"), Turn("user", "  ")]))

    def test_text_that_is_no_text_gets_a_reply(self, bot: Bot, tmp_path: Path, factory: Version):
        for text in ("\ud800", "\x00\n\r", "word " * 5000, "a" * 20_000, "🙂" * 900):
            assert say(bot, tmp_path, factory, text)

    def test_what_was_learned_is_answered_and_stays_unknown_to_the_parent(
        self, bot: Bot, tmp_path: Path, factory: Version
    ):
        before = say(bot, tmp_path, factory, PROMPT)
        version = learn(bot, tmp_path, factory, LESSONS)
        assert say(bot, tmp_path, version, PROMPT) == REPLY
        assert say(bot, tmp_path, factory, PROMPT) == before != REPLY

    def test_a_learned_answer_wins_over_the_factory_for_the_very_same_prompt(
        self, bot: Bot, tmp_path: Path, factory: Version
    ):
        for number, prompt in enumerate(("hi", "how are you", "Tell me a joke!", "good night")):
            version = learn(bot, tmp_path, factory, (sample_of(number, prompt, REPLY),))
            assert say(bot, tmp_path, version, prompt) == REPLY

    def test_the_same_update_gives_the_same_bytes_in_another_process(self, bot: Bot, tmp_path: Path, factory: Version):
        here = learn(bot, tmp_path, learn(bot, tmp_path, factory, LESSONS[:2]), LESSONS[2:])
        other = tmp_path / "other"
        other.mkdir()
        lines = subprocess.run(
            [sys.executable, "-c", self.script, str(other)], check=True, capture_output=True, text=True
        )
        there = json.loads(lines.stdout)
        assert there["id"] == here.id
        assert there["fingerprint"] == dict(here.fingerprint)
        assert there["reply"] == say(bot, tmp_path, here, PROMPT)
        assert _files(other, here.id) == _files(tmp_path, here.id)

    def test_replies_depend_on_turns_seed_and_choice_alone(self, bot: Bot, tmp_path: Path, factory: Version):
        first, second = bot.load(tmp_path, factory), self.make_bot().load(tmp_path, factory)
        for text in ("hello", "tell me a joke", "xyzzy plugh", "yes"):
            for seed, choice in ((0, 0), (7, 0), (0, 2)):
                turns = [Turn("assistant", "Which bird is your favourite?"), Turn("user", text)]
                said = ["".join(a.reply(turns, seed=seed, choice=choice)) for a in (first, second, first)]
                assert said[0] == said[1] == said[2]

    def test_choices_are_different_replies(self, bot: Bot, tmp_path: Path, factory: Version):
        assert len({say(bot, tmp_path, factory, "hello", choice=n) for n in range(4)}) == 4

    def test_evidence_names_the_sample_behind_a_reply(self, bot: Bot, tmp_path: Path, factory: Version):
        version = learn(bot, tmp_path, factory, LESSONS)
        evidence = bot.load(tmp_path, version).evidence([Turn("user", PROMPT)])
        assert evidence[0][0] == LESSONS[0].id
        assert 0.0 < evidence[0][1] <= 1.0

    def test_a_flipped_byte_in_any_file_is_caught_and_named(self, bot: Bot, tmp_path: Path, factory: Version):
        version = learn(bot, tmp_path, factory, LESSONS)
        files = [p for p in tmp_path.rglob("*") if p.is_file() and ({version.id, *version.segments} & set(p.parts))]
        assert len(files) >= 5
        for path in files:
            sound = path.read_bytes()
            if not sound:
                continue
            for at in (0, len(sound) // 2, len(sound) - 1):
                path.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
                with pytest.raises(CorruptError, match=path.name):
                    bot.verify(tmp_path, version)
                with pytest.raises(CorruptError):
                    bot.load(tmp_path, version)
            path.unlink()
            with pytest.raises(CorruptError, match=path.name):
                bot.verify(tmp_path, version)
            path.write_bytes(sound)
        bot.verify(tmp_path, version)

    def test_inputs_that_are_not_the_updates_own_are_refused(self, bot: Bot, tmp_path: Path, factory: Version):
        path = tmp_path / "inputs.safetensors"
        bot.prepare(LESSONS, path)
        update = Update("u", factory.id, bot.name, (), (), "0" * 64, 1, bot.hyper(), 0, 0)
        with pytest.raises(CorruptError, match="inputs"):
            bot.train(tmp_path, factory, update, path)


def _files(folder: Path, version_id: str) -> dict[str, bytes]:
    home = folder / "versions" / version_id
    return {path.name: path.read_bytes() for path in sorted(home.iterdir())}
