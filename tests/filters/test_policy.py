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


REPLACING = """
mode = "shadow"
[on_unscored]
in = { default = "allow", insult = "block" }
[thresholds.in]
toxicity = { flag = 0.2, replace = 0.5, block = 0.8 }
insult = { flag = 0.9 }
[thresholds.out]
toxicity = { replace = 0.4 }
[messages.replaced]
de = "[weg]"
"""
ENFORCED = Policy.from_toml(REPLACING.replace("shadow", "enforce"))


def test_keys_that_a_policy_does_not_use_are_not_in_its_id():
    assert not {"mode", "replaced"} & set(POLICY.to_json().split('"'))
    assert Policy.from_toml('mode = "enforce"\n' + TOML).id == POLICY.id
    assert Policy.from_toml('[on_unscored]\nin = { default = "block" }\n' + TOML).id == POLICY.id
    for policy in (Policy.from_toml(REPLACING), ENFORCED):
        assert Policy.from_json(policy.to_json()).id == policy.id
        assert Policy.from_json(policy.to_json()).on_unscored == policy.on_unscored


@pytest.mark.parametrize(
    ("toxicity", "insult", "served"),
    [
        ({"toxicity": 0.1}, {}, False),  # insult is not scored, and must be
        ({}, {"insult": 0.1}, True),  # toxicity is not, and need not
        ({}, {}, False),
    ],
)
def test_a_text_is_served_where_every_label_that_is_missing_may_be(toxicity, insult, served):
    parts = (("a", toxicity), ("b", insult))
    found = [Scores(name, "1", values, error="" if values else "broken") for name, values in parts]
    found = [one if one.values else Scores(one.filter, "1", coverage=0.0, error="broken") for one in found]
    verdict = ENFORCED.decide(found, "in")
    assert verdict.serve == "unscored"
    assert verdict.learn == "quarantine"
    assert verdict.unscored == tuple(sorted({"toxicity", "insult"} - {*toxicity, *insult}))
    assert ENFORCED.lets_through(verdict, "in") is served
    assert verdict_from_json(verdict_to_json(verdict)) == verdict


def test_a_text_with_parts_that_nobody_reads_goes_by_the_default():
    found = [scores(0.1), Scores("parts", "1", coverage=0.0)]
    assert ENFORCED.lets_through(ENFORCED.decide(found, "in"), "in")
    assert not POLICY.lets_through(POLICY.decide(found, "in"), "in")


@given(SCORE)
def test_replacing_is_flagged_for_people_and_waits_for_a_reviewer(value):
    verdict = ENFORCED.decide([scores(value)], "in")
    replaces = value >= 0.5
    assert [r.detail for r in verdict.reasons] == (["replaced"] if 0.5 <= value < 0.8 else [""] * (value >= 0.2))
    assert verdict.serve == ("block" if value >= 0.8 else "flag" if value >= 0.2 else "allow")
    assert verdict.learn == ("quarantine" if value >= 0.2 else "hold")
    assert bool(ENFORCED.replaced([scores(value)], 9, "in")) is replaces


def test_only_the_places_of_the_label_are_replaced_and_all_where_it_has_none():
    spans = (Span(5, 9, "toxicity", 0.6), Span(2, 6, "toxicity", 0.6), Span(20, 30, "insult", 0.6))
    assert ENFORCED.replaced([scores(0.6, spans=spans)], 40, "in") == [(2, 9)]
    assert ENFORCED.replaced([scores(0.6)], 40, "in") == [(0, 40)]
    hidden = scores(0.6, spans=spans, variants={"toxicity": "leetspeak"})
    assert ENFORCED.replaced([hidden], 40, "in") == [(0, 40)]


def test_in_shadow_mode_all_is_let_through_and_nothing_replaced():
    shadow = Policy.from_toml(REPLACING)
    verdict = shadow.decide([scores(0.9)], "in")
    assert verdict.serve == "block"
    assert shadow.lets_through(verdict, "in")
    assert shadow.lets_through(shadow.decide([Scores("a", "1", coverage=0.0, error="broken")], "in"), "in")
    assert shadow.replaced([scores(0.9)], 9, "in") == []


def test_the_words_instead_have_a_default_in_every_policy():
    assert POLICY.message("replaced", "de") == "[removed]"
    assert ENFORCED.message("replaced", "de-AT") == "[weg]"
    assert ENFORCED.message("replaced", "fr") == "[removed]"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('mode = "watch"\n' + TOML, "mode must be one of enforce, shadow"),
        ('[on_unscored]\nin = { insult = "maybe" }\n' + TOML, "on_unscored.in.insult must be one of block, allow"),
        ('[on_unscored]\nin = "maybe"\n' + TOML, "on_unscored.in must be one of block, allow"),
        (
            "[thresholds.in]\ninsult = { flag = 0.6, replace = 0.5 }",
            "insult.flag is above thresholds.in.insult.replace",
        ),
        ("[thresholds.in]\ninsult = { replace = 0.6, block = 0.5 }", "replace is above thresholds.in.insult.block"),
    ],
)
def test_a_wrong_word_for_these_is_named(text, named):
    with pytest.raises(PolicyError, match=named.replace(".", r"\.")):
        Policy.from_toml(text)
