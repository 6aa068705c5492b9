"""The fold: one verdict however a text arrives, and what a filter does wrong is unscored."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import Guardian, Item, Policy
from filters.errors import FilterError
from filters.guardian import report
from filters.types import SERVE_ORDER, Scores

POLICY = Policy.from_toml(
    "[thresholds.in]\nred = { flag = 0.4, block = 0.8 }\n[thresholds.out]\nred = { flag = 0.4 }\n"
)
TEXT = st.text(alphabet=st.sampled_from("abr .!?\n。é"), max_size=200)


class ShareOfR:
    """Scores the share of ``r`` in a text: a filter of three lines."""

    name, version, labels = "share", "1", ("red",)

    def score_many(self, items):
        return [Scores(self.name, self.version, {"red": i.text.count("r") / max(1, len(i.text))}) for i in items]


class Odd(ShareOfR):
    """Does what ``answer`` does instead."""

    def __init__(self, answer):
        self.answer = answer

    def score_many(self, items):
        return self.answer(items)


def raises(error):
    def answer(_):
        raise error

    return answer


def feed(guardian, text, cuts):
    fold = guardian.fold(Item("", "in"))
    judged, last = [], 0
    for cut in [*sorted(cut % (len(text) + 1) for cut in cuts), len(text)]:
        judged += fold.feed(text[last:cut])
        last = cut
    return [*judged, *fold.close()], fold


@given(TEXT, st.lists(st.integers(min_value=0), max_size=12))
@settings(max_examples=60)
def test_the_way_a_text_is_cut_changes_neither_units_nor_scores_nor_verdict(text, cuts):
    guardian = Guardian([ShareOfR()], POLICY)
    judged, fold = feed(guardian, text, cuts)
    whole, at_once = feed(guardian, text, [])
    assert judged == whole
    assert fold.scores == at_once.scores
    assert fold.verdict() == at_once.verdict() == guardian.judge(Item(text))[1] == judged[-1].verdict


@given(TEXT)
@settings(max_examples=60)
def test_a_text_never_gets_milder_as_it_goes_on(text):
    judged, _ = feed(Guardian([ShareOfR()], POLICY), text, [])
    places = [SERVE_ORDER.index(one.verdict.serve) for one in judged]
    assert places == sorted(places)


def test_the_bad_span_begins_at_the_first_unit_over_the_threshold():
    judged, fold = feed(Guardian([ShareOfR()], POLICY), "Fine. rrrr. Fine again.", [])
    assert [one.verdict.serve for one in judged] == ["allow", "flag", "flag"]
    (span,) = fold.verdict().reasons[0].spans
    assert (span.start, span.end) == (5, 11)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (raises(FilterError("no weights")), "no weights"),
        (raises(RuntimeError("boom")), "RuntimeError"),
        (lambda items: [], "0 scores for 1 items"),
        (lambda items: [Scores("share", "1", {"red": float("nan")}) for _ in items], "NaN"),
        (lambda items: [Scores("share", "1", {"red": 2.0}) for _ in items], "ValueError"),
        (lambda items: [Scores("share", "1", {"blue": 0.0}) for _ in items], "blue"),
        (lambda items: [Scores("share", "2", {"red": 0.0}) for _ in items], "share 2"),
        (lambda items: [Scores("share", "1") for _ in items], "red"),
        (lambda items: None, "TypeError"),
    ],
)
def test_a_broken_filter_is_unscored_with_its_reason_and_never_learned(answer, said):
    scores, verdict = Guardian([Odd(answer)], POLICY).judge(Item("hello"))
    assert (verdict.serve, verdict.learn) == ("unscored", "quarantine")
    assert said in verdict.reasons[0].detail
    assert not scores["share"].scored


def test_a_block_outweighs_a_broken_filter():
    class Other(Odd):
        name = "other"

    broken = Other(raises(RuntimeError()))
    assert Guardian([ShareOfR(), broken], POLICY).check(prompt="rrrrr").serve == "block"


def test_two_filters_of_one_name_are_refused():
    with pytest.raises(ValueError, match="one name"):
        Guardian([ShareOfR(), ShareOfR()], POLICY)


def test_a_variant_that_scores_higher_is_named():
    class Word(ShareOfR):
        def score_many(self, items):
            return [Scores(self.name, self.version, {"red": float("stupid" in i.text)}) for i in items]

    _, verdict = Guardian([Word()], POLICY).judge(Item("s t u p i d"))
    assert verdict.serve == "block"
    assert verdict.reasons[0].variant == "joined"


def test_check_gives_the_worse_of_prompt_and_reply():
    guardian = Guardian([ShareOfR()], POLICY)
    assert guardian.check(prompt="hello", reply="rrr").serve == "flag"
    assert guardian.check(prompt="rrr", reply="hello").serve == "block"
    with pytest.raises(ValueError, match="prompt"):
        guardian.check()


def test_an_empty_text_is_allowed():
    assert Guardian([ShareOfR()], POLICY).check(prompt="").serve == "allow"


def test_scores_of_many_texts_come_in_order_from_texts_and_items():
    found = Guardian([ShareOfR()], POLICY).score_many(["r", Item("aa")])
    assert [scores.values["red"] for scores in found] == [1.0, 0.0]


def test_a_report_has_the_shape_of_the_command_line():
    item = Item("rrrr")
    line = report(item, "7", *Guardian([ShareOfR()], POLICY).judge(item))
    assert (line["id"], line["text"], line["scores"], line["coverage"]) == ("7", "rrrr", {"red": 1.0}, 1.0)
    assert line["verdict"] == {"serve": "block", "learn": "quarantine"}
    assert set(line["reasons"][0]) >= {"label", "filter", "score", "threshold", "purpose", "spans", "variant"}
