"""What every filter and every encoder must keep; a test class of an implementation inherits it."""

import math

import numpy as np
import pytest

from filters.types import Encoder, Filter, Item

LINES = ("How are you today?", "I like gardens.", "Tell me about the sea, please.", "ok")


class FilterContract:
    """Inherit, and give the implementation as the fixture ``scorer``."""

    @pytest.fixture
    def scorer(self) -> Filter:
        raise NotImplementedError

    def test_it_is_a_filter(self, scorer):
        assert isinstance(scorer, Filter)
        assert scorer.name
        assert scorer.version

    def test_values_are_within_zero_and_one_and_of_declared_labels(self, scorer):
        for scores in scorer.score_many([Item(line) for line in LINES]):
            assert {*scores.values, *scores.absent} == set(scorer.labels)
            assert all(0.0 <= value <= 1.0 for value in scores.values.values())
            assert (scores.filter, scores.version) == (scorer.name, scorer.version)

    def test_no_items_give_no_scores(self, scorer):
        assert scorer.score_many([]) == []

    def test_a_text_scores_the_same_alone_and_in_any_batch(self, scorer):
        together = scorer.score_many([Item(line) for line in LINES])
        backwards = scorer.score_many([Item(line) for line in reversed(LINES)])[::-1]
        for line, in_batch, in_other in zip(LINES, together, backwards, strict=True):
            (alone,) = scorer.score_many([Item(line)])
            for label, value in alone.values.items():
                assert in_batch.values[label] == pytest.approx(value, abs=1e-6)
                assert in_other.values[label] == pytest.approx(value, abs=1e-6)

    @pytest.mark.parametrize("text", ["", " ", "\n\t ", "\x00", "\ud800", "\u200b", "😀", "ﷺ" * 50])
    def test_odd_texts_are_scored_or_unscored_never_an_error(self, scorer, text):
        (scores,) = scorer.score_many([Item(text)])
        assert not any(math.isnan(value) for value in scores.values.values())
        assert scores.scored == (set(scores.values) == set(scorer.labels))

    @pytest.mark.parametrize("text", ["lorem ipsum " * 1667, "x" * 20_000, "!" * 4_000])
    def test_a_long_text_is_scored_whole_or_unscored(self, scorer, text):
        (scores,) = scorer.score_many([Item(text)])
        assert scores.coverage == 1.0 or not scores.scored


class EncoderContract:
    """Inherit, and give the implementation as the fixture ``encoder``."""

    @pytest.fixture
    def encoder(self) -> Encoder:
        raise NotImplementedError

    def test_it_is_an_encoder(self, encoder):
        assert isinstance(encoder, Encoder)
        assert encoder.version

    def test_rows_have_unit_length(self, encoder):
        rows = encoder.embed_many(LINES)
        assert rows.shape == (len(LINES), encoder.dim)
        assert rows.dtype == np.float32
        assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-5)

    def test_no_texts_give_no_rows(self, encoder):
        assert encoder.embed_many([]).shape == (0, encoder.dim)

    def test_a_row_never_depends_on_its_neighbours(self, encoder):
        together = encoder.embed_many(LINES)
        for line, row in zip(LINES, together, strict=True):
            assert np.abs(encoder.embed_many([line])[0] - row).max() <= 1e-6

    def test_tokens_are_counted_without_special_ones(self, encoder):
        assert encoder.count_tokens("") == 0
        assert encoder.count_tokens("hello hello hello") == 3
