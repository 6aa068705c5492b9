"""Languages: English however it looks, others by their sentences, and who reads them."""

from __future__ import annotations

import pytest

from bench.language_sentences import SENTENCES
from filters import Guardian, Policy
from filters.language import OTHER, ByLanguage, Languages
from filters.toxicity import ToxicityFilter
from filters.types import Item, Scores
from tests.fakes import WordFilter
from tests.filters.contract import FilterContract
from tests.filters.test_detoxify import SIX, write_checkpoint

GERMAN, FRENCH = SENTENCES["de"][1], SENTENCES["fr"][0]
ENGLISH = (
    "I like gardens.",
    "ok",
    "hi",
    "no",
    "lol",
    "J. S. Bach",
    "😀😀😀",
    "3.14159 + 2 = ?",
    "https://example.org/eine/seite",
    "y0u ar3 s0 n1c3 t0 m3",
    "how much is a kimono in paris",
    "def main() -> None: return sum(x for x in rows)",
)


@pytest.fixture(scope="module")
def shipped():
    return ByLanguage(ToxicityFilter())


class TestByLanguage(FilterContract):
    @pytest.fixture
    def scorer(self, shipped):
        return shipped


@pytest.mark.parametrize("text", ENGLISH)
def test_english_and_what_is_no_language_is_not_another(shipped, text):
    (scores,) = shipped.score_many([Item(text)])
    assert scores.values[OTHER] < 0.9


@pytest.mark.parametrize("code", SENTENCES)
def test_most_sentences_of_a_language_are_kept_from_learning_and_served_as_they_score(shipped, code):
    guardian = Guardian([shipped])
    verdicts = [guardian.check(prompt=text) for text in SENTENCES[code]]
    kept = [[one for one in verdict.reasons if one.label == OTHER] for verdict in verdicts]
    assert sum(map(bool, kept)) >= len(kept) - 2
    assert all(verdict.learn == "quarantine" for verdict, found in zip(verdicts, kept, strict=True) if found)
    assert all(reason.purpose == "learn" and reason.variant for found in kept for reason in found)


def test_the_scores_of_the_model_are_there_in_any_language(shipped):
    (found,), (own,) = (one.score_many([Item(GERMAN)]) for one in (shipped, ToxicityFilter()))
    assert {label: value for label, value in found.values.items() if label != OTHER} == own.values
    assert found.variants == {OTHER: "de"}


def test_one_sentence_in_another_language_keeps_the_text_from_learning(shipped):
    verdict = Guardian([shipped]).check(prompt=f"I like gardens. {GERMAN} So do my friends.")
    (reason,) = (reason for reason in verdict.reasons if reason.label == OTHER)
    assert (verdict.learn, reason.purpose, reason.variant) == ("quarantine", "learn", "de")
    assert [(span.start, span.end) for span in reason.spans] == [(15, 16 + len(GERMAN))]


def test_a_disguise_taken_off_is_not_asked_for_its_language(shipped):
    (scores,) = Guardian([shipped]).score_many(["uryyb zl qrne sevraq, ubj ner lbh?"])  # rot13
    assert scores.variants.get(OTHER, "") not in {"rot13", "reversed"}


class Echo:
    """A filter that speaks of other labels, and keeps what it was asked."""

    name, version, labels, memoryless = "echo", "1", ("red", "blue"), True

    def __init__(self):
        self.asked = []

    def score_many(self, items):
        self.asked += [item.text for item in items]
        return [Scores("echo", "1", {"red": 0.7, "blue": 0.2}) for _ in items]


def test_a_text_goes_to_the_filter_of_its_language_and_the_others_do_not():
    own, german = WordFilter(), Echo()
    routed = ByLanguage(own, others={"de": german})
    found = routed.score_many([Item("I like bad gardens."), Item(GERMAN), Item(FRENCH)])
    assert german.asked == [GERMAN]
    assert [item.text for item in own.asked] == ["I like bad gardens.", FRENCH]
    assert [one.values["red"] for one in found] == [1.0, 0.7, 0.0]
    assert [one.values[OTHER] >= 0.9 for one in found] == [False, False, True]
    assert {(one.filter, one.version) for one in found} == {(routed.name, routed.version)}
    assert {label for one in found for label in one.values} == {"red", OTHER}
    assert not routed.memoryless  # the word filter does not say so
    assert routed.version != ByLanguage(own).version


def test_what_the_other_filter_does_not_speak_of_is_absent():
    own = WordFilter()
    own.labels = ("red", "green")
    (scores,) = ByLanguage(own, others={"de": Echo()}).score_many([Item(GERMAN)])
    assert scores.absent == {"green": "not scored in de"}
    policy = Policy.from_toml("[thresholds.in]\nred = { block = 0.9 }\ngreen = { block = 0.9 }")
    verdict = Guardian([ByLanguage(WordFilter(), others={"de": Echo()})], policy).check(prompt=GERMAN)
    assert verdict.serve == "unscored"


def test_detoxifys_multilingual_model_reads_its_languages(tmp_path):
    from filters.detoxify import DetoxifyFilter

    path, sha256 = write_checkpoint(tmp_path, SIX)
    english = DetoxifyFilter("", checkpoint=path, sha256=sha256, config_folder=tmp_path)
    assert english.languages == ("en",)
    routed = ByLanguage(ToxicityFilter(), others={"fr": english})
    ours, theirs = routed.score_many([Item(FRENCH)])[0], english.score_many([Item(FRENCH)])[0]
    assert {label: ours.values[label] for label in theirs.values} == theirs.values
    assert ours.values[OTHER] == 0.0


def test_the_detector_is_part_of_the_version(monkeypatch):
    before = ByLanguage(WordFilter()).version
    monkeypatch.setattr(Languages, "version", "another")
    assert ByLanguage(WordFilter()).version != before
