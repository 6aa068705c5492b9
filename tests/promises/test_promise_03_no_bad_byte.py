"""Promise 3, in the filters: a text is a left fold over closed units, each judged once, with a bounded context."""

import pytest

from filters import Guardian, Item, Policy
from filters.types import Scores
from tests.hostile import ABUSIVE

POLICY = Policy.from_toml("[thresholds.out]\nred = { block = 0.5 }\n")


class Recorder:
    """Scores 1 where ``bad`` stands, and keeps what it was asked."""

    name, version, labels = "recorder", "1", ("red",)

    def __init__(self):
        self.asked = []

    def score_many(self, items):
        self.asked += [(item.text, item.context, item.prompt) for item in items]
        return [Scores(self.name, self.version, {"red": float("bad" in item.text)}) for item in items]


def stream(guardian, text, prompt=None):
    """Return the units that would leave when the text comes one character at a time."""
    fold = guardian.fold(Item("", "out", prompt=prompt))
    judged = [one for character in text for one in fold.feed(character)] + fold.close()
    return [one.unit.text for one in judged if guardian.policy.lets_through(one.verdict, "out")]


def test_nothing_from_the_first_bad_unit_on_leaves():
    assert stream(Guardian([Recorder()], POLICY), "Fine. All bad here. Fine again.") == ["Fine."]


def test_each_unit_is_scored_once_with_its_left_context_and_the_prompt():
    recorder = Recorder()
    stream(Guardian([recorder], POLICY), "One. Two. Three.", prompt="Count!")
    assert recorder.asked == [
        ("One.", (), "Count!"),
        (" Two.", ("One.",), "Count!"),
        (" Three.", ("One.", " Two."), "Count!"),
    ]


def test_the_context_stays_bounded():
    recorder = Recorder()
    stream(Guardian([recorder], POLICY, count_tokens=lambda text: len(text.split())), "So it goes on. " * 200)
    assert max(len("".join(context).split()) for _, context, _ in recorder.asked) <= 128


def test_a_first_safe_sentence_leaves_when_it_is_closed_not_when_the_text_ends():
    fold = Guardian([Recorder()], POLICY).fold(Item("", "out"))
    assert [judged.unit.text for judged in fold.feed("Fine. And th")] == ["Fine."]


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_no_part_of_an_abusive_sentence_leaves_however_the_reply_is_cut(size):
    guardian = Guardian()
    text = f"I like gardens. {ABUSIVE} I like the sea."
    fold, sent = guardian.fold(Item("", "out")), ""
    pieces = [text[first : first + size] for first in range(0, len(text), size)]
    for judged in [one for piece in pieces for one in fold.feed(piece)] + fold.close():
        if guardian.policy.lets_through(judged.verdict, "out"):
            sent += judged.unit.text
    assert sent == "I like gardens."
