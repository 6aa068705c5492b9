"""The policy: pure, monotone, the same after a round trip, and strict about what it reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.errors import PolicyError
from filters.policy import Policy, worst_learn, worst_serve
from filters.types import LEARN_ORDER, SERVE_ORDER, Scores, Span
from filters.wire import scores_from_json, scores_to_json, verdict_from_json, verdict_to_json

TOML = """
[thresholds.in]
toxicity = { flag = 0.5, block = 0.8, quarantine = 0.3, reject = 0.95 }
insult = { block = 0.9 }
[thresholds.out]
toxicity = { flag = 0.4 }
"""
POLICY = Policy.from_toml(TOML)
SCORE = st.floats(min_value=0.0, max_value=1.0)


def scores(toxicity: float, insult: float = 0.0, **more) -> Scores:
    return Scores("toxicity", "v1", {"toxicity": toxicity, "insult": insult}, **more)


@given(SCORE, SCORE, SCORE, SCORE, st.sampled_from(["in", "out"]))
def test_a_higher_score_is_never_milder(a, b, c, d, direction):
    low, high = scores(min(a, b), min(c, d)), scores(max(a, b), max(c, d))
    mild, hard = POLICY.decide([low], direction), POLICY.decide([high], direction)
    assert SERVE_ORDER.index(hard.serve) >= SERVE_ORDER.index(mild.serve)
    assert LEARN_ORDER.index(hard.learn) >= LEARN_ORDER.index(mild.learn)


@given(st.lists(SCORE, max_size=4), SCORE)
def test_one_more_filter_is_never_milder(values, extra):
    some = [Scores(f"f{i}", "v", {"toxicity": value, "insult": 0.0}) for i, value in enumerate(values)]
    few = POLICY.decide([scores(0.0), *some], "in")
    many = POLICY.decide([scores(0.0), *some, Scores("extra", "v", {"toxicity": extra})], "in")
    assert worst_serve(few.serve, many.serve) == many.serve
    assert worst_learn(few.learn, many.learn) == many.learn


@given(SCORE, st.floats(min_value=0.0, max_value=0.999))
def test_a_text_scored_in_part_is_unscored_or_worse_and_quarantined(value, coverage):
    verdict = POLICY.decide([scores(value, coverage=coverage)], "in")
    assert verdict.serve in {"unscored", "block"}
    assert verdict.learn != "hold"
    assert not POLICY.lets_through(verdict, "in")


@pytest.mark.parametrize(
    ("value", "serve", "learn"),
    [
        (0.29, "allow", "hold"),
        (0.3, "allow", "quarantine"),
        (0.5, "flag", "quarantine"),
        (0.8, "block", "quarantine"),
        (0.95, "block", "reject"),
    ],
)
def test_a_score_that_reaches_a_threshold_has_its_effect(value, serve, learn):
    verdict = POLICY.decide([scores(value)], "in")
    assert (verdict.serve, verdict.learn) == (serve, learn)


def test_what_is_flagged_is_quarantined_even_without_a_learn_threshold():
    assert POLICY.decide([scores(0.45)], "out").learn == "quarantine"


def test_a_reason_says_label_filter_score_threshold_purpose_spans_and_variant():
    spans = (Span(0, 5, "toxicity", 0.2), Span(5, 9, "toxicity", 0.9), Span(5, 9, "insult", 0.9))
    verdict = POLICY.decide([scores(0.9, spans=spans, variants={"toxicity": "joined"})], "in")
    serve, learn = verdict.reasons
    assert (serve.label, serve.filter, serve.score, serve.threshold) == ("toxicity", "toxicity", 0.9, 0.8)
    assert (serve.purpose, serve.spans, serve.variant) == ("serve", spans[1:2], "joined")
    assert (learn.purpose, learn.threshold) == ("learn", 0.3)
    assert verdict.policy == POLICY.id
    assert verdict.filters == {"toxicity": "v1"}


def test_nan_is_unscored():
    assert POLICY.decide([scores(float("nan"))], "in").serve == "unscored"


@pytest.mark.parametrize("found", [[], [Scores("other", "v", {"other": 0.0})]])
def test_a_label_of_the_policy_that_no_filter_scores_is_unscored(found):
    verdict = POLICY.decide(found, "in")
    assert verdict.serve == "unscored"
    assert verdict.learn == "quarantine"


def test_a_label_that_is_absent_with_a_reason_decides_nothing():
    found = Scores("toxicity", "v1", {"toxicity": 0.0}, absent={"insult": "uncalibrated"})
    assert POLICY.decide([found], "in").serve == "allow"


def test_unscored_passes_only_where_the_policy_says_so_and_is_never_held_for_learning():
    open_policy = Policy.from_toml('on_unscored = { in = "allow" }' + TOML)
    verdict = open_policy.decide([scores(0.0, error="slow")], "in")
    assert verdict.serve == "unscored"
    assert open_policy.lets_through(verdict, "in")
    assert not open_policy.lets_through(verdict, "out")
    assert verdict.learn == "quarantine"


def test_a_policy_survives_a_round_trip_with_its_id():
    again = Policy.from_json(POLICY.to_json())
    assert again == POLICY
    assert again.id == POLICY.id
    assert Policy.default().id != POLICY.id


def test_the_order_of_keys_does_not_change_the_id():
    lines = TOML.strip().splitlines()
    assert Policy.from_toml("\n".join([lines[0], lines[2], lines[1], *lines[3:]])).id == POLICY.id


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[thresholds.in]\ntoxicity = { blok = 0.5 }", "'block'"),
        ("[threshold.in]", "'thresholds'"),
        ("[thresholds.inn]", "'in'"),
        ("on_unscord = {}\n[thresholds.in]", "'on_unscored'"),
        ("[thresholds.in]\n[messages.bloked]\nen = 'x'", "'blocked'"),
        ("[thresholds.in]\ntoxicity = { block = 1.5 }", "from 0 to 1"),
        ("[thresholds.in]\ntoxicity = { block = nan }", "from 0 to 1"),
        ("[thresholds.in]\ntoxicity = { block = true }", "from 0 to 1"),
        ("[thresholds.in]\ntoxicity = 0.5", "must be a table"),
        ("[thresholds.in]\ntoxicity = { flag = 0.9, block = 0.5 }", "above"),
        ("on_unscored = { in = 'maybe' }\n[thresholds.in]", "block, allow"),
        ("on_store_down = 'maybe'\n[thresholds.in]", "fixed, serve"),
        ("[thresholds.in]\n[messages.blocked]\nen = ''", "characters"),
        ("", "thresholds is missing"),
        ("not toml", "not valid TOML"),
        ("x" * 300_000, "at most"),
    ],
)
def test_a_bad_policy_is_refused_with_the_key_and_what_it_may_be(text, said):
    with pytest.raises(PolicyError, match=said):
        Policy.from_toml(text)


def test_a_message_falls_back_to_english():
    policy = Policy.from_toml(TOML + "[messages.blocked]\nde = 'Nein.'\n")
    assert policy.message("blocked", "de-AT") == "Nein."
    assert policy.message("blocked", "fr") == policy.message("blocked")
    assert all(policy.message(kind) for kind in ("blocked", "unscored", "stopped", "unavailable"))


@given(SCORE, SCORE)
def test_scores_and_verdicts_survive_the_wire(a, b):
    found = scores(a, b, spans=(Span(0, 3, "toxicity", a),), variants={"toxicity": "joined"})
    verdict = POLICY.decide([found], "in")
    assert scores_from_json(scores_to_json(found)) == found
    assert verdict_from_json(verdict_to_json(verdict)) == verdict


def test_the_severest_verdict_is_block():
    assert worst_serve("flag", "block", "unscored") == "block"


def test_the_shipped_policy_fails_closed_in_both_directions():
    policy = Policy.default()
    broken = [Scores("toxicity", "v", error="slow", coverage=0.0)]
    assert not policy.lets_through(policy.decide(broken, "in"), "in")
    assert not policy.lets_through(policy.decide(broken, "out"), "out")
