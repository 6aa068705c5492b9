"""The shipped scorer: the contracts, and its promises about plain lines, with the measured values beside the bounds."""

import json

import numpy as np
import pytest

from filters import Guardian, Item, Policy
from filters.encoder import MAX_TOKENS, OnnxEncoder
from filters.errors import WeightsError
from filters.models.build import HEADS, HEADS_MANIFEST
from filters.models.source import FOLDER, sha256_of
from filters.toxicity import ToxicityFilter
from tests.filters.contract import EncoderContract, FilterContract
from tests.hostile import ABUSIVE_LINES, BORDERLINE, SMALL_TALK


@pytest.fixture(scope="module")
def shipped() -> ToxicityFilter:
    return ToxicityFilter()


@pytest.fixture(scope="module")
def guardian(shipped) -> Guardian:
    return Guardian([shipped])


class TestToxicityFilter(FilterContract):
    @pytest.fixture
    def scorer(self, shipped):
        return shipped


class TestOnnxEncoder(EncoderContract):
    @pytest.fixture
    def encoder(self, shipped):
        return shipped.encoder


def test_labels_are_detoxifys(shipped):
    expected = {"toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack"}
    assert set(shipped.labels) == expected
    assert {label for labels in Policy.default().thresholds.values() for label in labels} == expected


@pytest.mark.parametrize("text", ABUSIVE_LINES)
def test_plain_abuse_is_blocked_and_not_learned(guardian, text):
    verdict = guardian.check(prompt=text)
    assert (verdict.serve, verdict.learn) == ("block", "quarantine")
    assert guardian.check(reply=text).serve == "block"


def test_a_borderline_line_is_flagged_served_and_not_learned(guardian):
    verdict = guardian.check(prompt=BORDERLINE)
    assert (verdict.serve, verdict.learn) == ("flag", "quarantine")
    assert guardian.policy.lets_through(verdict, "in")


@pytest.mark.parametrize("text", SMALL_TALK)
def test_small_talk_is_allowed_and_may_be_learned(guardian, text):
    for verdict in (guardian.check(prompt=text), guardian.check(reply=text)):
        assert (verdict.serve, verdict.learn) == ("allow", "hold")


@pytest.mark.parametrize("place", [0, 10, 20])
def test_abuse_is_found_at_any_place_of_a_long_text(guardian, place):
    sentences = ["The garden is lovely in spring."] * 20
    sentences.insert(place, ABUSIVE_LINES[0])
    assert guardian.check(prompt=" ".join(sentences)).serve == "block"


@pytest.mark.parametrize(
    "hidden",
    [
        "Shut up, you i d i o t.",
        "Yоu are а stuрid idiоt, shut uр.",
        "You are a ｓｔｕｐｉｄ ｉｄｉｏｔ, shut up.",
        "You are a stu\u200bpid idi\u200bot, shut up.",
    ],
)
def test_hidden_abuse_is_not_allowed(guardian, hidden):
    assert guardian.check(prompt=hidden).serve != "allow"


def test_the_embedding_comes_with_the_scores_and_is_the_encoders(shipped):
    (scores,) = shipped.score_many([Item("I like gardens.")])
    assert np.abs(scores.embedding - shipped.encoder.embed_many(["I like gardens."])[0]).max() <= 1e-6


def test_a_text_over_the_encoders_length_is_refused_not_cut(shipped):
    with pytest.raises(ValueError, match="split"):
        shipped.encoder.embed_many(["garden " * (MAX_TOKENS + 1)])


def test_context_reaches_the_score(shipped):
    line = "You really are one."
    plain, after = shipped.score_many([Item(line), Item(line, context="A stupid idiot, they said.")])
    assert after.values["toxicity"] > plain.values["toxicity"]


def test_a_missing_encoder_names_the_remedy(tmp_path):
    with pytest.raises(WeightsError, match="make setup"):
        OnnxEncoder(tmp_path)


def test_a_broken_encoder_names_the_remedy(tmp_path):
    (tmp_path / "encoder.onnx").write_bytes(b"not a model")
    with pytest.raises(WeightsError, match="make setup"):
        OnnxEncoder(tmp_path)


def test_the_heads_are_those_of_the_manifest_small_and_measured():
    manifest = json.loads((FOLDER / HEADS_MANIFEST).read_text())
    assert manifest["sha256"] == sha256_of(FOLDER / HEADS)
    assert (FOLDER / HEADS).stat().st_size < 1_000_000
    assert all(entry["source"] and entry["licence"] for entry in manifest["data"].values())
    areas = manifest["metrics"]["report_auc_first_64_tokens"]
    assert areas["toxicity"] >= 0.95  # measured: 0.964
    assert min(areas.values()) >= 0.94  # measured: 0.964


def test_the_figures_in_the_manifest_are_those_of_the_shipped_thresholds():
    figures = json.loads((FOLDER / HEADS_MANIFEST).read_text())["shipped_policy"]
    assert figures["thresholds"] == json.loads(Policy.default().to_json())["thresholds"]
    for clean in ("topical_chat_valid_freq", "topical_chat_valid_rare"):
        assert figures[clean]["blocked"] <= 0.005
        assert figures[clean]["flagged_or_worse"] <= 0.03
    assert figures["jigsaw_report_toxic"]["flagged_or_worse"] >= 0.75
    assert min(figures["jigsaw_report_auc"].values()) >= 0.93
