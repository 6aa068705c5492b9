"""Packed scores come back bit for bit; what is not whole is never packed, what is damaged never believed."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.packed import packed, unpacked
from filters.types import Delta, Scores, Span

UNIT = st.floats(0.0, 1.0)
LABELS = st.text(min_size=1, max_size=8)
PLACES = st.integers(0, 10_000)
SPANS = st.lists(st.builds(Span, PLACES, PLACES, LABELS, UNIT), max_size=4).map(tuple)
EMBEDDINGS = st.none() | st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8).map(
    lambda row: np.array(row, np.float32)
)
WHOLE = st.builds(
    Scores,
    filter=LABELS,
    version=LABELS,
    values=st.dictionaries(LABELS, UNIT, max_size=4),
    spans=SPANS,
    variants=st.dictionaries(LABELS, LABELS, max_size=2),
    embedding=EMBEDDINGS,
)


def bits(scores):
    return None if scores.embedding is None else (scores.embedding.dtype, scores.embedding.tobytes())


@given(st.lists(WHOLE, min_size=1, max_size=3))
def test_whole_scores_come_back_bit_for_bit(found):
    again = unpacked(packed(found))
    assert again == tuple(found)
    assert [bits(one) for one in again] == [bits(one) for one in found]


@pytest.mark.parametrize(
    "found",
    [
        {"values": {"red": float("nan")}},
        {"values": {"red": 0.1}, "coverage": 0.5},
        {"values": {"red": 0.1}, "error": "it broke"},
        {"absent": {"red": "timeout"}},
        {"values": {"red": 0.1}, "delta": Delta("words", {"seen": 1.0})},
    ],
)
def test_what_is_not_whole_is_not_packed(found):
    whole = Scores("words", "1", {"red": 0.1})
    assert packed([whole]) is not None
    assert packed([whole, Scores("others", "1", **found)]) is None


def test_single_precision_scores_are_packed_as_the_numbers_they_are():
    value = np.float32(0.1)
    assert unpacked(packed([Scores("words", "1", {"red": value})]))[0].values["red"] == value


@given(st.lists(WHOLE, min_size=1, max_size=2), st.data())
def test_a_cut_entry_is_never_believed(found, data):
    text = packed(found)
    with pytest.raises(ValueError, match=r"damaged|not whole"):
        unpacked(text[: data.draw(st.integers(0, len(text) - 1))])


@pytest.mark.parametrize(
    "row",
    [
        None,
        [],
        [["words", "1"]],
        [["words", "1", {"red": float("nan")}, [], {}, None]],
        [["words", "1", {"red": 1.5}, [], {}, None]],
        [["words", "1", {"red": "0.5"}, [], {}, None]],
        [["words", "1", {"red": 0.5}, [[1]], {}, None]],
        [["words", "1", {"red": 0.5}, [], {}, "AAA"]],
        [["words", "1", {"red": 0.5}, [], {}, "AAAA"]],
    ],
)
def test_an_entry_of_another_form_is_never_believed(row):
    with pytest.raises(ValueError, match=r"damaged|not whole"):
        unpacked(json.dumps(row))
