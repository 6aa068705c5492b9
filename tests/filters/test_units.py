"""Units: the text again when put together, the same however it is fed, never over 64 tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.units import UNIT_TOKENS, UnitSplitter, split

TEXT = st.text(alphabet=st.sampled_from("ab .!?\n\t\"')。e\u0301😀"), max_size=400) | st.text(max_size=200)


def count(text: str) -> int:
    """A token for each started four characters of a word, as a sub-word tokenizer might give."""
    return sum(-(-len(word) // 4) for word in text.split())


def fed(text: str, cuts: list[int]):
    splitter = UnitSplitter(count)
    units, last = [], 0
    for cut in [*sorted(cut % (len(text) + 1) for cut in cuts), len(text)]:
        units += splitter.feed(text[last:cut])
        last = cut
    return [*units, *splitter.close()]


@given(TEXT)
def test_units_put_together_are_the_text(text):
    units = split(text, count)
    assert "".join(unit.text for unit in units) == text
    assert all(text[unit.start : unit.end] == unit.text for unit in units)


@given(TEXT, st.lists(st.integers(min_value=0), max_size=20))
def test_the_way_a_text_is_fed_does_not_change_its_units(text, cuts):
    assert fed(text, cuts) == split(text, count)


@given(st.lists(st.sampled_from(["word", "a", "longerword" * 30, "x.y", "end.", "\n"]), max_size=200))
def test_no_unit_has_more_than_sixty_four_tokens_nor_its_context_more_than_128(words):
    for unit in split(" ".join(words), count):
        assert count(unit.text) <= UNIT_TOKENS
        assert unit.tokens <= UNIT_TOKENS
        assert sum(map(count, unit.context)) <= 128


@given(TEXT)
def test_the_context_is_what_stands_directly_left(text):
    for unit in split(text, count):
        assert text[: unit.start].endswith("".join(unit.context))


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("Hello. You there?", ["Hello.", " You there?"]),
        ('He said "go!" Then left', ['He said "go!"', " Then left"]),
        ("version 3.5 is out", ["version 3.5 is out"]),
        ("one\ntwo", ["one\n", "two"]),
        ("你好。再见。", ["你好。", "再见。"]),
        ("", []),
        ("\n\n hi", ["\n\n hi"]),
    ],
)
def test_sentences_and_lines_end_a_unit(text, units):
    assert [unit.text for unit in split(text, count)] == units


def test_a_sentence_leaves_as_soon_as_the_next_character_shows_that_it_ended():
    splitter = UnitSplitter(count)
    assert splitter.feed("Hello.") == []
    assert [unit.text for unit in splitter.feed(" ")] == ["Hello."]


def test_a_word_that_the_tokenizer_would_not_read_is_cut():
    assert max(len(unit.text) for unit in split("a" * 1000, count)) <= 96


def test_a_megabyte_without_a_space_is_split_in_bounded_pieces():
    units = split("ä" * 100_000, count)
    assert max(len(unit.text) for unit in units) <= 96


def test_invisible_characters_do_not_grow_the_context():
    units = split("\u200b" * 20_000, lambda text: 0)
    assert max(sum(map(len, unit.context)) for unit in units) <= 128 * 96
