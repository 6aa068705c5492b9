"""The filters that the settings name."""

import pytest

from filters.encoder import OnnxEncoder
from filters.language import OTHER
from filters.types import Item
from guard.filtering import filters_of
from guard.settings import ConfigurationError, ScoringSettings
from tests.filters.test_detoxify import SIX, write_checkpoint

FRENCH = "Hier soir, nous avons mangé chez ma grand-mère."


@pytest.fixture(scope="module")
def encoder():
    return OnnxEncoder()


def detoxify(folder, languages, kind="Bert"):
    path, sha256 = write_checkpoint(folder, SIX, f"{kind}ForSequenceClassification")
    return ScoringSettings(
        detoxify_model="",
        detoxify_file=str(path),
        detoxify_sha256=sha256,
        detoxify_config=str(folder),
        languages=languages,
    )


def test_the_first_filter_says_which_languages_it_reads(encoder):
    (shipped,) = filters_of(ScoringSettings(), encoder)
    assert (shipped.name, shipped.languages, shipped.labels[-1]) == ("toxicity", ("en",), OTHER)


def test_a_language_is_routed_to_a_model_that_was_trained_for_it(encoder, tmp_path):
    (routed,) = filters_of(detoxify(tmp_path, {"fr": "detoxify"}, "XLMRoberta"), encoder)
    assert routed.languages == ("en", "fr")
    (scores,) = routed.score_many([Item(FRENCH)])
    assert scores.values[OTHER] == 0.0
    assert scores.scored


def test_a_model_that_was_not_trained_for_a_language_does_not_get_it(encoder, tmp_path):
    with pytest.raises(ConfigurationError, match=r'detoxify was not trained for fr, but for en; .*"multilingual"'):
        filters_of(detoxify(tmp_path, {"fr": "detoxify"}), encoder)
