"""OpenAI moderations, with the unmodified openai client."""

from dataclasses import replace

import openai
import pytest

from guard.dialects.openai_moderations import CATEGORIES
from guard.scoring import ScoringLimits
from learner.store import AsyncStore, Keys
from tests.checking import BROKEN, LABELS, OPEN, checking, counted, key_with, nothing_was_kept, post
from tests.guarding import until

SCORED = {name for name, labels in CATEGORIES.items() if labels}
PARTS = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]


@pytest.fixture(scope="module")
def guard(redis_url):
    with checking(redis_url, Keys("bot-moderations")) as running:
        yield running


@pytest.fixture(scope="module")
def client(guard):
    with guard.client() as client:
        yield client


def set_of(result, wanted):
    """Return the categories with a value, by their names on the wire."""
    return {name for name, value in result.categories.model_dump(by_alias=True).items() if value is wanted}


def test_a_clean_text_is_not_flagged_and_says_which_categories_nobody_scored(client):
    answer = client.moderations.create(input="hello there", model="omni-moderation-latest")
    (result,) = answer.results
    assert (answer.model, result.flagged) == ("tayguard", False)
    assert set_of(result, wanted=False) == SCORED
    assert set_of(result, wanted=None) == set(CATEGORIES) - SCORED
    assert result.category_scores.harassment == 0.02
    assert result.category_scores.sexual is None
    assert (result.category_applied_input_types.hate, result.category_applied_input_types.sexual) == (["text"], [])
    extra = result.model_extra["tayguard"]
    assert (extra["verdict"], extra["coverage"]) == ("allow", 1.0)
    assert set(extra["unscored_categories"]) == set(CATEGORIES) - SCORED
    assert answer.model_extra["tayguard"] == {
        "policy": LABELS.id,
        "policy_current": True,
        "filters": {"labels": "1"},
    }


@pytest.mark.parametrize(
    ("text", "verdict", "label", "categories"),
    [
        ("an insult", "block", "insult", {"harassment"}),
        ("a mild insult", "flag", "insult", {"harassment"}),
        ("an identity_attack", "block", "identity_attack", {"hate"}),
        ("a threat", "block", "threat", {"harassment/threatening"}),
        ("a severe_toxicity", "block", "severe_toxicity", {"harassment"}),
        ("something obscene", "block", "obscene", set()),
    ],
)
def test_what_the_policy_flags_or_blocks_is_flagged_with_its_categories(client, text, verdict, label, categories):
    (result,) = client.moderations.create(input=text).results
    assert result.flagged
    assert set_of(result, wanted=True) == categories
    extra = result.model_extra["tayguard"]
    assert extra["verdict"] == verdict
    assert label in {reason["label"] for reason in extra["reasons"]}


def test_every_text_of_a_list_has_its_own_result_in_order(client):
    results = client.moderations.create(input=["hello", "an insult", "", "a mild threat"]).results
    assert [result.model_extra["tayguard"]["verdict"] for result in results] == ["allow", "block", "allow", "flag"]


def test_a_list_of_parts_is_one_input_and_a_part_that_is_not_text_leaves_it_unscored(client):
    (result,) = client.moderations.create(input=PARTS).results
    assert result.flagged
    assert set_of(result, wanted=None) == set(CATEGORIES)
    assert result.model_extra["tayguard"]["verdict"] == "unscored"
    assert result.model_extra["tayguard"]["coverage"] == 0.0
    (text_only,) = client.moderations.create(input=PARTS[:1]).results
    assert not text_only.flagged


def test_a_bad_text_beside_a_picture_keeps_its_category(client):
    (result,) = client.moderations.create(input=[{"type": "text", "text": "an insult"}, PARTS[1]]).results
    assert result.model_extra["tayguard"]["verdict"] == "block"
    assert set_of(result, wanted=True) == {"harassment"}
    assert set_of(result, wanted=False) == set()


@pytest.mark.parametrize("how", BROKEN)
def test_a_filter_that_fails_flags_and_scores_nothing(redis_url, bot_keys, how):
    with checking(redis_url, bot_keys, broken=how) as guard, guard.client() as client:
        (result,) = client.moderations.create(input="hello").results
        assert counted(guard, "moderations") == {BROKEN[how]: 1.0}
    assert result.flagged
    assert set_of(result, wanted=None) == set(CATEGORIES)
    extra = result.model_extra["tayguard"]
    assert extra["verdict"] == "unscored"
    assert all(reason["score"] is None and reason["detail"] for reason in extra["reasons"])


def test_where_the_policy_fails_open_unscored_is_not_flagged_and_still_not_clean(redis_url, bot_keys):
    with checking(redis_url, bot_keys, broken="raise", policy=OPEN) as guard, guard.client() as client:
        (result,) = client.moderations.create(input="hello").results
    assert not result.flagged
    assert set_of(result, wanted=False) == set()
    assert result.model_extra["tayguard"]["verdict"] == "unscored"


@pytest.mark.parametrize("bad", [None, 7, [], [7], [None], {"type": "text"}, ["hi", {"type": "text"}], ["a"] * 600])
def test_a_wrong_input_is_openais_error_object(guard, bad):
    answer = post(guard, "/v1/moderations", {"input": bad})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input"


def test_too_much_text_is_refused(guard):
    assert post(guard, "/v1/moderations", {"input": "x" * 100_001}).status_code == 400
    assert post(guard, "/v1/moderations", {"input": "x" * 2_000_000}).json()["error"]["code"] == "request_too_large"


def test_only_an_integrators_key_may_ask(guard):
    with guard.client(key_with(guard, "client")) as client, pytest.raises(openai.PermissionDeniedError):
        until(lambda: _permitted(client))
    with guard.client(key_with(guard, "integrator")) as client:
        assert until(lambda: _permitted(client)).results


def _permitted(client):
    try:
        return client.moderations.create(input="hello")
    except openai.AuthenticationError:
        return None  # the worker has not read the new key yet


def test_a_full_queue_refuses_with_a_hint_when_to_come_back(redis_url, bot_keys):
    with checking(redis_url, bot_keys, scoring=ScoringLimits(queue=0)) as guard:
        answer = post(guard, "/v1/moderations", {"input": "hello"})
        assert counted(guard, "moderations") == {"refused": 1.0}
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_nothing_is_captured_or_learned(guard, client):
    client.moderations.create(input=["hello", "an insult"])
    assert nothing_was_kept(guard)


def test_an_emergency_stop_does_not_stop_checks(redis_url, bot_keys):
    with checking(redis_url, bot_keys) as guard:
        guard.store._redis.hset(guard.keys.state, "stopped", "1")
        assert post(guard, "/v1/moderations", {"input": "an insult"}).json()["results"][0]["flagged"]


def test_while_redis_is_away_the_policy_last_known_counts_and_the_answer_says_so(redis_url, bot_keys):
    with checking(redis_url, bot_keys) as guard:
        guard.running.checks._store = AsyncStore("unix:///nonexistent/r.sock")
        answer = post(guard, "/v1/moderations", {"input": "an insult"}).json()
    assert answer["results"][0]["flagged"]
    assert answer["tayguard"]["policy_current"] is False
    with checking(redis_url, bot_keys, store=AsyncStore("unix:///nonexistent/r.sock")) as guard:
        refused = post(guard, "/v1/moderations", {"input": "hello"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")


def test_a_new_policy_counts_from_the_next_request_on(redis_url, bot_keys):
    lax = replace(LABELS, thresholds={"in": {}, "out": {}})
    policies = {"": LABELS, lax.id: lax}

    async def policy_of(policy_id):
        return policies[policy_id]

    with checking(redis_url, bot_keys, policy_of=policy_of) as guard:
        before = post(guard, "/v1/moderations", {"input": "an insult"}).json()
        guard.store._redis.hset(guard.keys.state, "policy", lax.id)
        after = post(guard, "/v1/moderations", {"input": "an insult"}).json()
    assert [answer["results"][0]["flagged"] for answer in (before, after)] == [True, False]
    assert [answer["tayguard"]["policy"] for answer in (before, after)] == [LABELS.id, lax.id]
