"""Variants: proposed where somebody hides, bounded, and none for plain text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.normalise import variants

PLAIN = [
    "How are you?",
    "The list is a, b, c.",
    "Ça va très bien, café déjà vu, naïve.",
    "Привет, как дела?",
    "Καλημέρα σας",
    "2 + 2 = 4 and x < y",
    "I am 5' 11\" tall.",
]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_text_has_no_variant(text):
    assert variants(text) == ()


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("s t u p i d", "stupid"),
        ("you s.t.u.p.i.d thing", "you stupid thing"),
        ("ѕtuріd idea", "stupid idea"),
        ("ｓｔｕｐｉｄ", "stupid"),
        ("stu\u200bpid", "stupid"),
        ("s\u0335t\u0335upid", "stupid"),
        ("\U0001d4fc\U0001d4fd\U0001d4fe\U0001d4f9\U0001d4f2\U0001d4ed", "stupid"),
    ],
)
def test_a_hidden_word_is_read(text, read):
    assert read in [variant.text for variant in variants(text)]


@given(st.text(max_size=300))
def test_variants_are_few_and_bounded(text):
    found = variants(text)
    assert len(found) <= 3
    assert all(len(variant.text) <= 4 * len(text) + 4 for variant in found)
    assert all(variant.text != text for variant in found)


@pytest.mark.parametrize("text", ["a " * 100_000, "ﷺ" * 50_000, "a\u0335" * 100_000, "(" * 200_000])
def test_a_long_hostile_text_takes_linear_time(text):
    began = time.process_time()
    variants(text)
    assert time.process_time() - began < 3.0  # measured: 0.4 s for the slowest
