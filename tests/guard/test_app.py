"""The edge: keys, limits, unknown routes, health; every error is OpenAI's error object."""

import io
import json
import logging

import httpx
import pytest

from guard.auth import list_keys, new_secret, put_key, record_for, revoke_key
from guard.logs import JsonLines
from learner.errors import UnknownIdError
from tests.fakes import WordFilter
from tests.guarding import now_ms, serving, until


@pytest.fixture(scope="module")
def guard(redis_url):
    from learner.store import Keys

    with serving(redis_url, Keys("bot-app")) as running:
        yield running


def post(guard, content, **headers):
    url = f"{guard.url}/v1/chat/completions"
    return httpx.post(url, content=content, headers={**guard.headers, **headers}, timeout=30)


def code_of(answer):
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", (400, "invalid_json")),
        (b"[]", (400, "invalid_json")),
        (b'{"a": NaN}', (400, "invalid_json")),
        (b"[" * 100_000, (400, "invalid_json")),
        (b'{"a":' * 40 + b"1" + b"}" * 40, (400, "invalid_json")),
        (b"{}", (400, "invalid_request")),
        (b'{"messages": []}', (400, "invalid_request")),
        (b'{"messages": [{"role": "king", "content": "hi"}]}', (400, "invalid_request")),
        (b'{"messages": [{"role": "user", "content": 7}]}', (400, "invalid_request")),
        (b'{"messages": [{"role": "user", "content": ""}]}', (400, "invalid_request")),
        (b'{"n": 99, "messages": [{"role": "user", "content": "hi"}]}', (400, "invalid_request")),
        (b'{"n": true, "messages": [{"role": "user", "content": "hi"}]}', (400, "invalid_request")),
        (b'{"stream": "yes", "messages": [{"role": "user", "content": "hi"}]}', (400, "invalid_request")),
        (json.dumps({"messages": [{"role": "user", "content": "hi"}] * 600}).encode(), (400, "invalid_request")),
        (b'{"model": "gpt", "messages": [{"role": "user", "content": "hi"}]}', (404, "model_not_found")),
        (b"x" * 2_000_000, (413, "request_too_large")),
    ],
)
def test_a_wrong_request_gives_one_clear_error(guard, body, expected):
    assert code_of(post(guard, body)) == expected


def test_a_body_without_a_length_is_limited_as_well(guard):
    assert code_of(post(guard, (b"x" * 100_000 for _ in range(15)))) == (413, "request_too_large")


def test_half_a_character_is_answered_and_not_an_error(guard):
    body = b'{"messages": [{"role": "user", "content": "hello \\ud800"}]}'
    assert post(guard, body).json()["choices"][0]["message"]["content"] == "You said: hello ?"


def test_a_wrong_key_is_401_and_a_missing_role_403(guard):
    body = b'{"messages": [{"role": "user", "content": "hi"}]}'
    assert code_of(post(guard, body, Authorization="Bearer tg_wrong")) == (401, "invalid_api_key")
    assert code_of(post(guard, body, Authorization="")) == (401, "invalid_api_key")
    secret = new_secret()
    guard.store.run(put_key(guard.keys, record_for(secret, ["auditor"]), actor="test", at_ms=now_ms()))
    until(lambda: post(guard, body, Authorization=f"Bearer {secret}").status_code == 403)


def test_a_revoked_key_stops_working(guard):
    secret, body = new_secret(), b'{"messages": [{"role": "user", "content": "hi"}]}'
    record = record_for(secret, ["client"])
    guard.store.run(put_key(guard.keys, record, actor="test", at_ms=now_ms()))
    until(lambda: post(guard, body, Authorization=f"Bearer {secret}").status_code == 200)
    guard.store.run(revoke_key(guard.keys, record.id, actor="test", at_ms=now_ms()))
    until(lambda: post(guard, body, Authorization=f"Bearer {secret}").status_code == 401)
    (stored,) = [one for one in guard.store.run(list_keys(guard.keys)) if one.id == record.id]
    assert stored.revoked_ms > 0
    assert secret not in str(guard.store._redis.hgetall(guard.keys.keys))
    with pytest.raises(UnknownIdError):
        guard.store.run(revoke_key(guard.keys, "key_none", actor="test", at_ms=now_ms()))


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/completions"), ("GET", "/v1/files"), ("PUT", "/v1/models")])
def test_an_unknown_route_is_refused_with_the_reason(guard, method, path):
    answer = httpx.request(method, guard.url + path, headers=guard.headers)
    assert code_of(answer) == (404, "not_found")
    assert path in answer.json()["error"]["message"]


def test_health_and_metrics_need_no_key(guard):
    assert httpx.get(f"{guard.url}/healthz").json() == {"status": "alive"}
    until(lambda: httpx.get(f"{guard.url}/readyz").status_code == 200)
    assert "tayguard_hop_ms" in httpx.get(f"{guard.url}/metrics").text


def test_the_embedded_bot_is_the_one_model(guard):
    with guard.client() as client:
        assert [model.id for model in client.models.list()] == ["tay"]


def test_a_broken_filter_and_a_missing_redis_make_the_guard_unready(redis_url, bot_keys):
    from filters import Guardian
    from learner.store import AsyncStore
    from tests.guarding import POLICY

    broken = Guardian([WordFilter("raise")], POLICY)
    nowhere = AsyncStore("unix:///nonexistent/r.sock")
    with serving(redis_url, bot_keys, guardian=broken, store=nowhere) as guard:
        answer = httpx.get(f"{guard.url}/readyz")
    assert answer.status_code == 503
    assert {"canary", "redis", "upstream"} <= set(answer.json()["problems"])


def test_no_text_can_forge_a_log_line():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("tests.forgery")
    logger.addHandler(handler)
    error = ValueError('secret\n{"event": "forged"}')
    fields = {"fields": {"event": "other", "key": "a\nb"}}
    logger.error("a\nline\u2028%s", "x\r\ny", exc_info=error, extra=fields)
    logger.removeHandler(handler)
    (line,) = stream.getvalue().splitlines()
    row = json.loads(line)
    assert (row["event"], row["key"], row["error"]) == ("a\nline\u2028x\r\ny", "a\nb", "ValueError")
    assert "secret" not in line
