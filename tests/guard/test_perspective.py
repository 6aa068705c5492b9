"""Perspective's comments:analyze, over plain HTTP as its clients send it."""

import io
import logging
from dataclasses import replace

import httpx
import pytest

from filters import Guardian
from filters.language import OTHER, ByLanguage
from filters.policy import Thresholds
from guard.logs import configure
from guard.scoring import ScoringLimits
from learner.store import AsyncStore, Keys
from tests.checking import BROKEN, LABELS, OPEN, checking, counted, key_with, nothing_was_kept
from tests.fakes import LabelFilter
from tests.guarding import serving, until

PATH = "/v1alpha1/comments:analyze"
ALL = ("TOXICITY", "SEVERE_TOXICITY", "IDENTITY_ATTACK", "INSULT", "PROFANITY", "THREAT")


@pytest.fixture(scope="module")
def guard(redis_url):
    with checking(redis_url, Keys("bot-perspective")) as running:
        yield running


def analyze(guard, text, wanted=("TOXICITY",), **fields):
    """Post as a Perspective client does: the key in the address."""
    body = {"comment": {"text": text}, "requestedAttributes": {name: {} for name in wanted}, **fields}
    return httpx.post(guard.url + PATH, params={"key": guard.secret}, json=body, timeout=30)


def error_of(answer):
    error = answer.json()["error"]
    assert error["code"] == answer.status_code
    assert error["message"]
    (detail,) = error["details"]
    return error["code"], error["status"], detail["errorType"]


def test_every_attribute_is_answered_with_its_labels_score(guard):
    answer = analyze(guard, "something obscene", ALL, languages=["en"], doNotStore=True, clientToken="t1").json()
    scores = {name: one["summaryScore"] for name, one in answer["attributeScores"].items()}
    assert set(scores) == set(ALL)
    assert scores["PROFANITY"] == {"value": 1.0, "type": "PROBABILITY"}
    assert scores["THREAT"]["value"] == 0.02
    assert (answer["languages"], answer["clientToken"]) == (["en"], "t1")
    assert "detectedLanguages" not in answer
    assert answer["tayguard"] == {
        "verdict": "block",
        "coverage": 1.0,
        "policy": LABELS.id,
        "policy_current": True,
        "filters": {"labels": "1"},
    }


def test_only_what_is_asked_for_is_answered_and_only_from_its_threshold_on(guard):
    wanted = {"INSULT": {"scoreThreshold": 0.6}, "THREAT": {"scoreThreshold": 0.03, "scoreType": "PROBABILITY"}}
    answer = analyze(guard, "a mild insult", requestedAttributes=wanted).json()
    assert set(answer["attributeScores"]) == {"INSULT"}


def test_spans_are_the_units_counted_in_utf16(guard):
    text = "Hello 😀 there. An insult."
    answer = analyze(guard, text, ("INSULT",), spanAnnotations=True).json()["attributeScores"]["INSULT"]
    spans = [(one["begin"], one["end"], one["score"]["value"]) for one in answer["spanScores"]]
    assert spans == [(0, 15, 0.02), (15, 26, 1.0)]
    pieces = [text.encode("utf-16-le")[2 * begin : 2 * end].decode("utf-16-le") for begin, end, _ in spans]
    assert pieces == ["Hello 😀 there.", " An insult."]
    (whole,) = analyze(guard, text, ("INSULT",)).json()["attributeScores"]["INSULT"]["spanScores"]
    assert (whole["begin"], whole["end"], whole["score"]["value"]) == (0, 26, 1.0)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"comment": {"text": ""}}, "COMMENT_EMPTY"),
        ({"comment": {}}, "COMMENT_EMPTY"),
        ({"comment": "hello"}, "INVALID_REQUEST"),
        ({"comment": {"text": 7}}, "INVALID_REQUEST"),
        ({"comment": {"text": "<b>hi</b>", "type": "HTML"}}, "INVALID_REQUEST"),
        ({"comment": {"text": "x" * 100_001}}, "COMMENT_TOO_LONG"),
        ({"requestedAttributes": {}}, "INVALID_REQUEST"),
        ({"requestedAttributes": {"TOXICITY": {}, "SPAM": {}}}, "UNKNOWN_ATTRIBUTE"),
        ({"requestedAttributes": {"TOXICITY": {"scoreType": "PERCENTILE"}}}, "INVALID_REQUEST"),
        ({"requestedAttributes": {"TOXICITY": {"scoreThreshold": 2}}}, "INVALID_REQUEST"),
        ({"languages": ["fr"]}, "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE"),
        ({"languages": "en"}, "INVALID_REQUEST"),
        ({"spanAnnotations": "yes"}, "INVALID_REQUEST"),
        ({"context": {"entries": [{"text": "a"}], "articleAndParentComment": {"article": {"text": "b"}}}},
         "INVALID_REQUEST"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_an_error_in_googles_form(guard, fields, kind):
    assert error_of(analyze(guard, "hello", **fields)) == (400, "INVALID_ARGUMENT", kind)


def test_every_other_error_has_googles_form_as_well(guard):
    body = {"comment": {"text": "hi"}, "requestedAttributes": {"TOXICITY": {}}}
    url = guard.url + PATH
    assert error_of(httpx.post(url, json=body)) == (401, "UNAUTHENTICATED", "INVALID_API_KEY")
    assert error_of(httpx.post(url, params={"key": "tg_no"}, json=body))[0] == 401
    client = key_with(guard, "client")
    until(lambda: httpx.post(url, params={"key": client}, json=body).status_code == 403)
    assert error_of(httpx.post(url, params={"key": client}, json=body))[1:] == ("PERMISSION_DENIED", "MISSING_ROLE")
    assert error_of(httpx.post(url, headers=guard.headers, content=b"{"))[2] == "INVALID_JSON"
    assert error_of(httpx.post(url, headers=guard.headers, content=b"x" * 2_000_000))[0] == 413
    assert error_of(httpx.get(url, headers=guard.headers))[:2] == (404, "NOT_FOUND")
    assert error_of(httpx.post(f"{guard.url}/v1alpha1/comments:suggestscore", json=body))[:2] == (404, "NOT_FOUND")


def test_the_key_may_come_in_any_of_three_places(guard):
    body = {"comment": {"text": "hi"}, "requestedAttributes": {"TOXICITY": {}}}
    ways = [
        {"headers": guard.headers},
        {"params": {"key": guard.secret}},
        {"headers": {"X-Goog-Api-Key": guard.secret}},
    ]
    assert [httpx.post(guard.url + PATH, json=body, **way).status_code for way in ways] == [200, 200, 200]


def test_the_key_in_an_address_is_logged_nowhere(redis_url, bot_keys):
    root, stream = logging.getLogger(), io.StringIO()
    before = list(root.handlers), root.level
    try:
        with checking(redis_url, bot_keys) as guard:
            configure("DEBUG", stream)
            assert analyze(guard, "hello").status_code == 200
            assert analyze(guard, "").status_code == 400
            assert httpx.get(guard.url + PATH, params={"key": guard.secret}).status_code == 404
            upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "a" * 24}
            httpx.get(guard.url + PATH, params={"key": guard.secret}, headers=upgrade)
            metrics = httpx.get(f"{guard.url}/metrics").text
            secret = guard.secret
    finally:
        root.handlers[:], root.level = before
    said = "\n".join(line for line in stream.getvalue().splitlines() if '"logger": "httpcore' not in line)  # the client
    assert '"endpoint": "perspective"' in said
    assert secret not in said + metrics


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("policy", [LABELS, OPEN], ids=["closed", "open"])
def test_a_comment_that_was_not_scored_is_an_error_and_never_a_low_score(redis_url, bot_keys, how, policy):
    with checking(redis_url, bot_keys, broken=how, policy=policy) as guard:
        answer = analyze(guard, "hello", ALL)
        assert counted(guard, "perspective") == {BROKEN[how]: 1.0}
    assert error_of(answer) == (503, "UNAVAILABLE", "UNSCORED")
    assert answer.headers["Retry-After"] == "1"


def test_a_full_queue_and_a_missing_policy_are_unavailable(redis_url, bot_keys):
    with checking(redis_url, bot_keys, scoring=ScoringLimits(queue=0)) as guard:
        assert error_of(analyze(guard, "hello")) == (503, "UNAVAILABLE", "OVERLOADED")
    with checking(redis_url, bot_keys, store=AsyncStore("unix:///nonexistent/r.sock")) as guard:
        assert error_of(analyze(guard, "hello")) == (503, "UNAVAILABLE", "STORE_UNAVAILABLE")


def test_a_session_and_the_comment_above_are_the_context_it_is_scored_in(guard):
    heard = guard.running.deps.guardian.filters[0].asked
    parent = {"articleAndParentComment": {"parentComment": {"text": "What do you think?"}}}
    analyze(guard, "Well.", context=parent, sessionId="s1")
    analyze(guard, "Well.", context={"entries": [{"text": "One"}, {"text": "Two"}]}, sessionId="s1")
    first, second = (item for item in heard if item.text == "Well.")
    assert (first.prompt, second.prompt) == ("What do you think?", "One\nTwo")
    assert first.conversation == second.conversation
    assert "s1" not in str(first)


def test_nothing_is_captured_or_learned(guard):
    analyze(guard, "an insult", doNotStore=False)
    assert nothing_was_kept(guard)


def test_a_comments_language_is_detected_and_one_that_no_model_was_trained_for_is_refused(redis_url, bot_keys):
    labels = {**LABELS.thresholds["in"], OTHER: Thresholds(quarantine=0.9)}
    policy = replace(LABELS, thresholds={"in": labels, "out": labels})
    guardian = Guardian([ByLanguage(LabelFilter())], policy)
    german = "Ich war gestern mit meiner Schwester im Kino."
    with serving(redis_url, bot_keys, guardian=guardian, default_policy=policy) as guard:
        english = analyze(guard, "I was at the cinema with my sister yesterday.").json()
        refused = analyze(guard, german)
        named = analyze(guard, german, languages=["en"]).json()
    assert (english["languages"], english["detectedLanguages"]) == (["en"], ["en"])
    assert error_of(refused) == (400, "INVALID_ARGUMENT", "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE")
    assert "de" in refused.json()["error"]["message"]
    assert (named["languages"], named["detectedLanguages"]) == (["en"], ["de"])
    assert "TOXICITY" in named["attributeScores"]


def test_a_language_that_is_routed_to_another_model_is_supported(redis_url, bot_keys):
    guardian = Guardian([ByLanguage(LabelFilter(), others={"de": LabelFilter()})], LABELS)
    with serving(redis_url, bot_keys, guardian=guardian, default_policy=LABELS) as guard:
        answer = analyze(guard, "Ich war gestern mit meiner Schwester im Kino.", languages=["de"]).json()
    assert answer["languages"] == ["de"]
