"""Our own checks: the proxy's judgement of messages, with its reasons."""

import logging

import pytest

from guard.scoring import ScoringLimits
from learner.store import AsyncStore, Keys
from tests.checking import BROKEN, LABELS, OPEN, checking, counted, nothing_was_kept, post
from tests.fakes import ScriptedBot
from tests.guarding import embedded


@pytest.fixture(scope="module")
def guard(redis_url):
    with checking(redis_url, Keys("bot-checks")) as running:
        yield running


def said(*turns):
    return [{"role": role, "content": content} for role, content in turns]


def check(guard, *turns, **fields):
    return post(guard, "/v1/checks", {"messages": said(*turns), **fields})


def test_a_verdict_comes_with_its_reasons_and_what_made_it(guard):
    answer = check(guard, ("user", "Hello. A mild insult.")).json()
    assert answer["verdict"] == {"serve": "flag", "learn": "quarantine"}
    assert (answer["let_through"], answer["coverage"]) == (True, 1.0)
    assert (answer["policy"], answer["policy_current"], answer["filters"]) == (LABELS.id, True, {"labels": "1"})
    reason = {
        "label": "insult",
        "filter": "labels",
        "score": 0.6,
        "threshold": 0.5,
        "purpose": "serve",
        "spans": [{"start": 6, "end": 21, "label": "insult", "score": 0.6}],
        "variant": "",
        "detail": "",
    }
    assert answer["reasons"] == [{**reason, "messages": [0]}, {**reason, "purpose": "learn", "messages": [0]}]
    (message,) = answer["messages"]
    assert (message["role"], message["direction"], message["verdict"]) == ("user", "in", answer["verdict"])
    assert message["reasons"] == [reason, {**reason, "purpose": "learn"}]


def test_each_message_has_its_own_verdict_and_the_worst_is_over_all(guard):
    turns = [
        ("system", "no insult"),
        ("user", "hello"),
        ("assistant", "a threat"),
        ("user", "an insult"),
        ("user", "hi"),
    ]
    answer = check(guard, *turns).json()
    rows = [(row["role"], row["direction"], row["verdict"] and row["verdict"]["serve"]) for row in answer["messages"]]
    assert rows == [
        ("system", None, None),
        ("user", "in", "allow"),
        ("assistant", "out", "block"),
        ("user", "in", "block"),
        ("user", "in", "allow"),
    ]
    assert (answer["verdict"]["serve"], answer["let_through"]) == ("block", False)
    assert {(reason["label"], tuple(reason["messages"])) for reason in answer["reasons"]} == {
        ("threat", (2,)),
        ("insult", (3, 4)),
    }


def test_a_text_that_is_split_over_messages_is_read_joined_too(guard):
    answer = check(guard, ("user", "a mild"), ("user", "insult")).json()
    assert [row["verdict"]["serve"] for row in answer["messages"]] == ["allow", "block"]
    joined = check(guard, ("user", "one insult"), ("user", "hi")).json()
    assert [reason["messages"] for reason in joined["reasons"]] == [[0, 1], [0, 1]]


def test_a_reply_is_judged_as_the_answer_to_what_stands_before_it(guard):
    heard = guard.running.deps.guardian.filters[0].asked
    check(guard, ("user", "One"), ("user", "two?"), ("assistant", "A reply."))
    (item,) = (item for item in heard if item.text == "A reply.")
    assert (item.direction, item.prompt) == ("out", "One\ntwo?")


def test_the_direction_can_be_given(guard):
    turns = [("user", "hello"), ("assistant", "an insult")]
    for direction in ("in", "out"):
        rows = check(guard, *turns, direction=direction).json()["messages"]
        assert [row["direction"] for row in rows] == [direction, direction]


CONVERSATIONS = [
    [("user", "hello there. Nice day!")],
    [("user", "a mild insult. Nice day!")],
    [("user", "Nice day. An insult! Yes.")],
    [("user", "hello"), ("assistant", "an insult"), ("user", "go on")],
    [("user", "fine"), ("user", "a mild threat")],
    [("system", "a threat"), ("user", "hello")],
    [("user", [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:"}}])],
]


@pytest.mark.parametrize("turns", CONVERSATIONS)
def test_the_verdict_and_its_reasons_are_those_that_the_proxy_gives(redis_url, bot_keys, turns):
    with checking(redis_url, bot_keys, upstream=embedded(ScriptedBot("Fine."))) as guard:
        guard.chat(said(*turns))
        checked = check(guard, *turns, direction="in")
        (event,) = guard.events()
    assert checked.headers["X-Tayguard-Verdict"] == event["exchange"]["prompt_verdict"]["serve"]
    assert of_proxy(checked.json()) == without_filters(event["exchange"]["prompt_verdict"])


@pytest.mark.parametrize("reply", ["Fine. And good.", "A mild insult. Bye.", "Well. A threat. Bye."])
def test_a_reply_has_the_verdict_that_it_has_behind_the_proxy(redis_url, bot_keys, reply):
    with checking(redis_url, bot_keys, upstream=embedded(ScriptedBot(reply))) as guard:
        guard.chat("hello")
        checked = check(guard, ("assistant", reply)).json()
        (event,) = guard.events()
    assert of_proxy(checked) == without_filters(event["exchange"]["reply_verdict"])


def without_filters(verdict):
    return {name: value for name, value in verdict.items() if name != "filters"}


def of_proxy(body):
    """Return an answer's overall verdict as the proxy logs it."""
    reasons = [{name: value for name, value in reason.items() if name != "messages"} for reason in body["reasons"]]
    kept = {name: body[name] for name in ("coverage", "policy")}
    return {**body["verdict"], **kept, "reasons": reasons}


@pytest.mark.parametrize("how", BROKEN)
def test_a_filter_that_fails_is_unscored_with_the_reason(redis_url, bot_keys, how):
    with checking(redis_url, bot_keys, broken=how) as guard:
        answer = check(guard, ("user", "hello"), ("assistant", "hi"))
        assert counted(guard, "checks") == {BROKEN[how]: 1.0}
        metrics = guard.running.metrics.render().decode()
    body = answer.json()
    assert (answer.status_code, answer.headers["X-Tayguard-Verdict"]) == (200, "unscored")
    assert body["verdict"] == {"serve": "unscored", "learn": "quarantine"}
    assert body["let_through"] is False
    assert [row["verdict"]["serve"] for row in body["messages"]] == ["unscored", "unscored"]
    assert all(reason["score"] is None and reason["detail"] for reason in body["reasons"])
    for side in ("in", "out"):
        assert f'tayguard_verdicts_total{{direction="{side}",verdict="{BROKEN[how]}"}} 1.0' in metrics
    assert 'verdict="allow"' not in metrics


def test_failing_open_lets_it_through_and_still_says_unscored(redis_url, bot_keys):
    with checking(redis_url, bot_keys, broken="raise", policy=OPEN) as guard:
        body = check(guard, ("user", "hello")).json()
    assert (body["verdict"]["serve"], body["let_through"]) == ("unscored", True)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "king", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "hi"}], "direction": "up"}, "direction"),
        ({"messages": [{"role": "user", "content": "hi"}], "directon": "in"}, "directon"),
    ],
)
def test_a_wrong_request_names_the_field(guard, body, param):
    answer = post(guard, "/v1/checks", body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_full_queue_and_a_missing_policy_are_refused(redis_url, bot_keys):
    with checking(redis_url, bot_keys, scoring=ScoringLimits(queue=0)) as guard:
        assert check(guard, ("user", "hi")).json()["error"]["code"] == "overloaded"
    with checking(redis_url, bot_keys, store=AsyncStore("unix:///nonexistent/r.sock")) as guard:
        assert check(guard, ("user", "hi")).json()["error"]["code"] == "store_unavailable"


def test_messages_of_too_many_sentences_in_all_are_refused_before_any_is_scored(redis_url, bot_keys):
    turns = [("user", "One. Two. Three."), ("assistant", "Four. Five."), ("user", "Six.")]
    with checking(redis_url, bot_keys, scoring=ScoringLimits(max_units=5)) as guard:
        labels = guard.running.deps.guardian.filters[0]
        before = len(labels.asked)
        answer = check(guard, *turns)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
        assert "at most 5" in answer.json()["error"]["message"]
        assert [item.text for item in labels.asked[before:] if item.text in "One. Two. Three. Four. Five. Six."] == []
        assert check(guard, *turns[1:]).json()["verdict"]["serve"] == "allow"
        assert counted(guard, "checks") == {"refused": 1.0, "allow": 1.0}


def test_a_long_request_ends_in_time_and_what_was_not_reached_is_unscored(redis_url, bot_keys):
    with checking(redis_url, bot_keys) as guard:
        guard.running.checks._timeout_s = 0.0
        body = check(guard, ("user", "hello")).json()
        assert counted(guard, "checks") == {"broken": 1.0}
    assert body["verdict"]["serve"] == "unscored"
    assert "timeout" in body["reasons"][0]["detail"]


def test_one_event_is_logged_without_a_text_or_a_score_and_nothing_is_kept(redis_url, bot_keys, caplog):
    caplog.set_level(logging.INFO, "tayguard.messages")
    with checking(redis_url, bot_keys) as guard:
        answer = check(guard, ("user", "a secret mild insult"))
        assert nothing_was_kept(guard)
    (fields,) = (record.fields for record in caplog.records if record.message == "check")
    assert fields["request_id"] == answer.headers["X-Tayguard-Request-Id"] == answer.json()["id"]
    assert (fields["endpoint"], fields["verdict"], fields["reasons"]) == ("checks", "flag", ["insult"])
    assert "secret" not in str(fields)
    assert "0.6" not in str({name: value for name, value in fields.items() if name != "ms"})
