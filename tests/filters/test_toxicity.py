"""The shipped scorer: the contracts, and its promises about plain lines, with the measured values beside the bounds."""

import json
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from filters import Guardian, Item, Policy
from filters.encoder import MAX_TOKENS, OnnxEncoder
from filters.errors import WeightsError
from filters.language import OTHER, ByLanguage
from filters.models.build import MANIFEST, TRAINED
from filters.models.source import FOLDER, sha256_of
from filters.toxicity import ToxicityFilter
from filters.units import split
from tests.filters.contract import EncoderContract, FilterContract
from tests.hostile import ABUSIVE_LINES, BORDERLINE, SMALL_TALK


@pytest.fixture(scope="module")
def shipped() -> ToxicityFilter:
    return ToxicityFilter()


@pytest.fixture(scope="module")
def guardian(shipped) -> Guardian:
    return Guardian([ByLanguage(shipped)])


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
    assert {label for labels in Policy.default().thresholds.values() for label in labels} == {*expected, OTHER}


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
    assert guardian.check(prompt=" ".join(sentences)).serve != "allow"


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
    asked = ToxicityFilter(shipped.encoder, embed=True)
    item = Item("I like gardens.")
    (scores,) = asked.score_many([item])
    assert np.abs(scores.embedding - shipped.encoder.embed_many([item.text])[0]).max() <= 1e-6
    assert scores.values == shipped.score_many([item])[0].values
    assert asked.score_many([replace(item, direction="out")])[0].embedding is None


def test_plain_talk_is_settled_by_the_lower_layers_and_abuse_is_not(shipped):
    calm, rude = ([shipped.encoder.tokens(text).ids] for text in (SMALL_TALK[0], ABUSIVE_LINES[0]))
    assert not shipped.encoder.run(calm, embed=False).embedding.any()
    assert shipped.encoder.run(rude, embed=False).embedding.any()
    assert (shipped.encoder.run(calm).logits == shipped.encoder.run(calm, embed=False).logits).all()


def test_more_than_the_encoder_reads_at_once_is_refused_not_cut(shipped):
    with pytest.raises(ValueError, match="split"):
        shipped.encoder.run([shipped.encoder.tokens("garden").ids * (MAX_TOKENS + 1)])
    with pytest.raises(ValueError, match="split"):
        shipped.encoder.run([])


def test_a_long_text_has_an_embedding_of_unit_length(shipped):
    (row,) = shipped.encoder.embed_many(["The garden is lovely in the morning. " * 200])
    assert np.linalg.norm(row) == pytest.approx(1.0, abs=1e-5)


def test_a_unit_scores_the_same_alone_and_beside_what_follows(shipped):
    asked = ToxicityFilter(shipped.encoder, embed=True)
    text = "The garden is lovely. You are a fool, they said. I do not think so! Do you? " * 4
    units = split(text.strip(), shipped.encoder.count_tokens)
    items = [Item(unit.text, context=unit.context) for unit in units]
    together = asked.score_many(items)
    for item, found in zip(items, together, strict=True):
        (alone,) = asked.score_many([item])
        assert alone.values == pytest.approx(found.values, abs=1e-6)  # measured: 5e-7
        assert np.abs(alone.embedding - found.embedding).max() <= 1e-5


def test_units_of_one_text_share_a_pass():
    class Counting(OnnxEncoder):
        ran: ClassVar[list[int]] = []

        def run(self, units, *, embed=True):
            self.ran.append(len(units))
            return super().run(units, embed=embed)

    Guardian([ToxicityFilter(Counting())]).judge(Item("How are you? I was in the garden. It rained."))
    assert Counting.ran == [3]


def test_the_span_of_an_abusive_word_is_the_word(shipped):
    text = "I was in the garden and you are a stupid idiot."
    spans = {text[s.start : s.end] for s in shipped.score_many([Item(text)])[0].spans if s.label == "toxicity"}
    assert spans == {"stupid idiot"}


def test_an_emoji_is_read_by_its_name(shipped):
    rude, named, kind = shipped.score_many(
        [Item(f"You {said}") for said in ("\U0001f595", "middle finger", "\U0001f339")]
    )
    assert rude.values["toxicity"] > 2 * kind.values["toxicity"]
    assert rude.values == named.values
    assert shipped.encoder.tokens("a \U0001f40d").ranges == ((0, 1), (2, 3))


def test_toxicity_is_at_least_each_of_its_kinds(shipped):
    as_read = ToxicityFilter(shipped.encoder, as_read=True)
    for item in map(Item, (*ABUSIVE_LINES, *SMALL_TALK)):
        (ours,), read = shipped.score_many([item]), as_read.score_many([item])[0].values
        assert ours.values == read | {"toxicity": max(read.values())}


def test_context_reaches_the_score(shipped):
    line = "You really are one."
    plain, after = shipped.score_many([Item(line), Item(line, context=("A stupid idiot, they said.",))])
    assert after.values["toxicity"] > plain.values["toxicity"]


def test_a_missing_encoder_names_the_remedy(tmp_path):
    with pytest.raises(WeightsError, match="make setup"):
        OnnxEncoder(tmp_path)


def test_a_broken_encoder_names_the_remedy(tmp_path):
    (tmp_path / "encoder.onnx").write_bytes(b"not a model")
    with pytest.raises(WeightsError, match="make setup"):
        OnnxEncoder(tmp_path)


def test_the_weights_are_those_of_the_manifest_small_and_of_known_sources():
    manifest = json.loads((FOLDER / MANIFEST).read_text())
    assert manifest["sha256"] == sha256_of(FOLDER / TRAINED)
    assert (FOLDER / TRAINED).stat().st_size < 15_000_000  # measured: 10.8 MB
    assert all(entry["source"] and entry["licence"] for entry in manifest["data"].values())
