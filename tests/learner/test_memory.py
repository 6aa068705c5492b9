"""MemoryBot keeps the contract of a bot, and what is its own: rows, tombstones, the cap, its factory."""

from __future__ import annotations

import errno
import re
import resource
import time
from pathlib import Path

import numpy as np
import pytest

from filters.encoder import OnnxEncoder
from filters.types import Encoder
from learner.bots.memory import MemoryBot, factory_rows
from learner.bots.memory_ranker import BOUNDS, FEATURES, SEED_NOISE, START
from learner.bots.memory_rows import Row, RowSegment, RowTable, pack_tombstones, write_segment
from learner.errors import CapacityError, CorruptError, DataFolderError
from learner.types import Bot, Turn
from tests.fake_encoder import BagOfWords
from tests.learner.contract_bot import LESSONS, PROMPT, REPLY, BotContract, learn, sample_of, say

SCRIPT = """
import json, sys
from pathlib import Path
from learner.bots.memory import MemoryBot
from tests.fake_encoder import BagOfWords
from tests.learner.contract_bot import LESSONS, PROMPT, learn, say
folder, bot = Path(sys.argv[1]), MemoryBot(BagOfWords())
version = learn(bot, folder, learn(bot, folder, bot.factory(folder), LESSONS[:2]), LESSONS[2:])
reply = say(bot, folder, version, PROMPT)
print(json.dumps({"id": version.id, "fingerprint": dict(version.fingerprint), "reply": reply}))
"""


class TestMemoryBot(BotContract):
    script = SCRIPT

    def make_bot(self) -> Bot:
        return MemoryBot(BagOfWords())


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return OnnxEncoder()


@pytest.fixture(scope="module")
def wren(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory):
    """Wren with the shipped encoder: the bot, its folder and its factory version."""
    folder = tmp_path_factory.mktemp("wren")
    bot = MemoryBot(encoder)
    return bot, folder, bot.factory(folder)


@pytest.mark.parametrize(
    ("prompt", "like"),
    [
        ("Hi!", "wren|hi"),
        ("Who are you?", "Wren"),
        ("What's tayguard?", "guard"),
        ("could you tell me a joke?", "owl|bird|hoot"),
        ("I feel kinda down today", "sorry"),
        ("what is your favourite dish", "ramen"),
        ("i am off to bed, good night", "night|sleep|pillow"),
        ("it's pouring outside", "rain|soup|weather"),
    ],
)
def test_the_factory_answers_small_talk_sensibly(wren, prompt: str, like: str):
    assert re.search(like, say(*wren, prompt), re.IGNORECASE)


def test_a_near_paraphrase_of_what_was_learned_gets_the_learned_answer(wren):
    bot, folder, factory = wren
    version = learn(bot, folder, factory, (sample_of(1, "What colour is the moon on a Tuesday?", REPLY),))
    assert say(bot, folder, version, "what color is the moon on tuesdays") == REPLY
    assert say(bot, folder, version, "Tell me a joke") == say(bot, folder, factory, "Tell me a joke")


def test_what_the_bot_said_can_be_a_prompt_and_the_bot_does_not_repeat_itself(wren):
    bot, folder, factory = wren
    opening = say(bot, folder, factory, "hi")
    version = learn(bot, folder, factory, (sample_of(1, opening, "A heron stole my sandwich."),))
    assert say(bot, folder, version, opening) == "A heron stole my sandwich."
    assert say(bot, folder, version, "hi", opening, "hey hi") != opening


def test_most_openings_end_in_a_question():
    replies = [row.reply for row in factory_rows() if row.prompt in ("hi", "hello", "hey", "good morning", "what's up")]
    assert replies
    assert all(reply.endswith("?") for reply in replies)


def test_the_factory_has_at_least_three_hundred_exchanges_and_no_prompt_twice():
    rows = [row for row in factory_rows() if row.role == "factory"]
    assert len({row.reply for row in rows}) >= 300
    assert len({row.prompt for row in rows}) == len(rows)


def test_no_bounds_let_training_turn_a_learned_row_behind_a_factory_row_that_fits_as_well():
    bounds = dict(zip(FEATURES, BOUNDS, strict=True))
    assert -bounds["factory"][1] > SEED_NOISE
    assert all(a <= start <= b for (a, b), start in zip(BOUNDS, START, strict=True))


def test_a_hidden_row_is_never_the_answer_and_the_parent_keeps_it(tmp_path: Path):
    bot = MemoryBot(BagOfWords())
    version = learn(bot, tmp_path, bot.factory(tmp_path), LESSONS)
    hidden = bot.hide(tmp_path, version, "forget-1", {LESSONS[0].id})
    bot.verify(tmp_path, hidden)
    assert say(bot, tmp_path, hidden, PROMPT) != REPLY
    assert LESSONS[0].id not in [i for i, _ in bot.load(tmp_path, hidden).evidence([Turn("user", PROMPT)], limit=50)]
    assert say(bot, tmp_path, version, PROMPT) == REPLY
    assert hidden.id != version.id
    assert hidden.segments == version.segments


def test_hiding_is_learning_without_the_row_as_far_as_answers_go(tmp_path: Path):
    bot = MemoryBot(BagOfWords())
    factory = bot.factory(tmp_path)
    without = learn(bot, tmp_path, factory, LESSONS[1:])
    hidden = bot.hide(tmp_path, learn(bot, tmp_path, factory, LESSONS), "forget-1", {LESSONS[0].id})
    for prompt in (PROMPT, "Do trains dream?", "hello"):
        assert say(bot, tmp_path, hidden, prompt) == say(bot, tmp_path, without, prompt)


def test_the_row_cap_is_a_clear_error(tmp_path: Path):
    bot = MemoryBot(BagOfWords(), max_rows=len(factory_rows()) + 1)
    factory = bot.factory(tmp_path)
    with pytest.raises(CapacityError, match="row cap"):
        learn(bot, tmp_path, factory, LESSONS)


def test_another_encoder_cannot_load_the_version(tmp_path: Path):
    factory = MemoryBot(BagOfWords()).factory(tmp_path)
    with pytest.raises(CorruptError, match="encoder"):
        MemoryBot(BagOfWords("bag-of-words-2")).load(tmp_path, factory)


@pytest.mark.parametrize("full_at", ["versions", "rows"])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_at: str):
    bot = MemoryBot(BagOfWords())
    factory = bot.factory(tmp_path)
    before = sorted(str(path) for path in (tmp_path / full_at).rglob("*"))
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if full_at in self.parts:
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(DataFolderError, match="disk full at version write"):
        learn(bot, tmp_path, factory, LESSONS)
    assert sorted(str(path) for path in (tmp_path / full_at).rglob("*")) == before


def test_rows_share_segments_and_hide_by_bit(tmp_path: Path):
    rows = [Row(f"s{n}", "au1", f"p{n}", f"line\n\u2028{n}\ud800") for n in range(9)]
    vectors = np.eye(9, 16, dtype=np.float16)
    names = [write_segment(tmp_path, rows[:5], vectors[:5]), write_segment(tmp_path, rows[5:], vectors[5:])]
    hidden = np.zeros(9, bool)
    hidden[7] = True
    for decode_rows_max in (0, 100):
        table = RowTable(tmp_path, names, pack_tombstones(hidden), decode_rows_max=decode_rows_max)
        assert [table.row(at) for at in range(9)] == rows
        assert table.nearest(vectors[6].astype(np.float32), 1) == [6]
        assert 7 not in table.nearest(vectors[7].astype(np.float32), 9)


def test_a_query_over_a_thousand_rows_takes_about_a_millisecond(wren):
    bot, folder, factory = wren
    answerer = bot.load(folder, factory)
    turns = [Turn("user", "how are you today")]
    "".join(answerer.reply(turns))
    took = []
    for _ in range(20):
        started = time.perf_counter()
        "".join(answerer.reply(turns))
        took.append(time.perf_counter() - started)
    assert sorted(took)[10] < 0.005  # 0.8 ms measured beyond the encoder, whose result is remembered here


def test_a_version_may_have_more_segments_than_a_process_may_open_files(tmp_path: Path):
    names = [write_segment(tmp_path, [Row(f"s{n}", "au1", "p", "r")], np.ones((1, 8), np.float16)) for n in range(40)]
    before = len(list(Path("/proc/self/fd").iterdir()))
    table = RowTable(tmp_path, names, b"")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert [table.row(at).id for at in (0, 39)] == ["s0", "s39"]


def test_large_embeddings_are_mapped_not_read(tmp_path: Path):
    rows = [Row(f"s{n}", "au1", "p", "r") for n in range(2048)]
    name = write_segment(tmp_path, rows, np.ones((2048, 256), np.float16))
    assert isinstance(RowSegment(tmp_path, name).embeddings, np.memmap)


def test_too_many_open_files_is_an_error_of_its_own(tmp_path: Path):
    bot = MemoryBot(BagOfWords())
    factory = bot.factory(tmp_path)
    table = RowTable(tmp_path, factory.segments, b"")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, most[1]))
    try:
        for act in (lambda: bot.verify(tmp_path, factory), lambda: table.row(5), lambda: bot.factory(tmp_path)):
            with pytest.raises(DataFolderError, match="ulimit"):
                act()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
    assert table.row(5).id == "factory:5"
