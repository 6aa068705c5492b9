"""The admin API does what the command line does, for whoever has the role; its pages load nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from guard.auth import ROLES, Role
from guard.learner_process import prepare
from guard.operations import Operations
from guard.settings import Settings, load
from guard.supervisor import embedded_key
from guard.wiring import Wiring
from guard.wiring_app import app_of
from learner.embedded import EmbeddedRedis
from learner.policies import read

PLACES = [
    ("get", "status", "auditor"), ("get", "samples", "reviewer"), ("post", "samples/release", "reviewer"),
    ("post", "undo", "reviewer"), ("get", "versions", "auditor"), ("post", "rollback", "operator"),
    ("post", "rollback/undo", "operator"), ("post", "learn", "operator"), ("post", "switch/freeze", "operator"),
    ("post", "policy", "operator"), ("get", "keys", "operator"), ("post", "keys", "operator"),
    ("delete", "keys/x", "operator"), ("get", "audit", "auditor"), ("get", "audit/verify", "auditor"),
]  # fmt: skip


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load(environ={"TAYGUARD_DATA_DIR": str(tmp_path_factory.mktemp("admin") / "data")})


@pytest.fixture(scope="module")
def wiring(settings: Settings) -> Iterator[Wiring]:
    folder = settings.store.data_dir
    with EmbeddedRedis(folder) as server:
        made = Wiring(settings, server.url)
        prepare(made)
        embedded_key(folder)
        yield made
        made.close()


@pytest.fixture(scope="module")
def key_of(wiring: Wiring) -> dict[Role, dict[str, str]]:
    """A header for each role, of keys that were there when the worker started."""
    make = Operations(wiring).key_create
    made = {role: make([role], asserts_author=False, note="", actor="test")["key"] for role in ROLES}
    return {role: {"Authorization": f"Bearer {key}"} for role, key in made.items()}


@pytest.fixture(scope="module")
def client(wiring: Wiring, key_of: dict[Role, dict[str, str]]) -> Iterator[TestClient]:
    assert key_of
    with TestClient(app_of(wiring, loopback=True), base_url="http://127.0.0.1") as found:
        found.headers["Authorization"] = f"Bearer {(wiring.data_dir / 'key').read_text().strip()}"
        yield found


@pytest.mark.parametrize(("verb", "path", "role"), PLACES, ids=lambda value: value)
def test_a_key_without_the_role_is_refused(
    client: TestClient, key_of: dict[Role, dict[str, str]], verb: str, path: str, role: Role
) -> None:
    other: Role = "client" if role != "operator" else "reviewer"
    body = {} if verb == "post" else None
    answer = client.request(verb, f"/admin/api/{path}", headers=key_of[other], json=body)
    assert answer.status_code == 403, answer.text
    assert role in answer.json()["error"]["message"]
    assert client.request(verb, f"/admin/api/{path}", headers={"Authorization": ""}, json=body).status_code == 401


def test_it_answers_as_the_command_line_does(client: TestClient, wiring: Wiring) -> None:
    operations = Operations(wiring)
    assert client.get("/admin/api/status").json() == operations.status()
    assert client.get("/admin/api/versions").json() == operations.versions()
    assert client.get("/admin/api/policy").json() == operations.policy()
    assert client.get("/admin/api/samples").json() == []
    assert client.get("/admin/api/audit/verify").json()["whole"] is True
    live = client.get("/admin/api/versions").json()[0]["id"]
    assert client.get(f"/admin/api/versions/{live}").json()["record"]["id"] == live
    assert client.get("/admin/api/live-at", params={"time": "2999-01-01"}).json()["version"] == live


def test_switches_name_the_key_that_turned_them(client: TestClient) -> None:
    assert client.post("/admin/api/switch/freeze", json={"reason": "a look"}).json()["done"] == "freeze"
    again = client.post("/admin/api/switch/freeze", json={})
    assert again.status_code == 400
    assert "already" in again.json()["error"]["message"]
    assert client.post("/admin/api/switch/thaw", json={}).status_code == 200
    event = next(row for row in client.get("/admin/api/audit").json() if row["type"] == "frozen")
    assert event["actor"].startswith("key_")
    assert event["reason"] == "a look"


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "says"),
    [
        ("post", "rollback", {"to": "factory"}, 400, "live already"),
        ("post", "rollback", {"to": "nonsense"}, 404, "no version"),
        ("post", "rollback/undo", {}, 400, "no rollback"),
        ("get", "samples/nope", None, 404, "nope"),
        ("get", "samples?state=gone", None, 404, "quarantined"),
        ("get", "samples?since=soon", None, 404, "no time"),
        ("post", "policy", {"toml": "thresholds = 3"}, 400, "must be a table"),
        ("post", "keys", {"roles": ["king"]}, 400, "choose from"),
        ("post", "samples/release", {"ids": []}, 400, ""),
        ("post", "rollback", {"to": "factory", "why": "x"}, 400, ""),
        ("delete", "keys/key_unknown", None, 404, ""),
    ],
)
def test_bad_input_is_an_error_object(
    client: TestClient, verb: str, path: str, body: dict[str, Any] | None, status: int, says: str
) -> None:
    answer = client.request(verb, f"/admin/api/{path}", json=body)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["error"]["message"]


def test_an_unknown_sample_does_not_move(client: TestClient) -> None:
    rows = client.post("/admin/api/samples/discard", json={"ids": ["nobody"]}).json()
    assert [(row["id"], row["result"]) for row in rows] == [("nobody", "unknown")]


def test_a_policy_is_applied_and_taken_back(client: TestClient, wiring: Wiring) -> None:
    before = wiring.store.run(read(wiring.keys)).live
    text = Path("filters/policy_default.toml").read_text().replace('on_store_down = "fixed"', "")
    other = {"toml": f'on_store_down = "serve"\n{text}', "reason": "a test"}
    assert client.post("/admin/api/policy/diff", json=other).json()["same"] is False
    assert client.post("/admin/api/policy", json=other).json()["changed"] is True
    assert client.post("/admin/api/policy/rollback", json={}).json()["policy"] == before


@pytest.mark.parametrize("page", ["/console", "/docs"])
def test_a_page_runs_nothing_and_loads_nothing_from_elsewhere(client: TestClient, page: str) -> None:
    answer = client.get(page, headers={"Authorization": ""})
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "script" not in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<script|\son\w+=|style=|//", answer.text)
    linked = re.findall(r'(?:href|src)="([^"]*)"', answer.text)
    assert linked
    assert all(client.get(link).status_code in (200, 503) for link in linked)


def test_the_page_lists_every_admin_route(client: TestClient) -> None:
    text = client.get("/docs").text
    paths = [path for path in client.get("/openapi.json").json()["paths"] if path.startswith("/admin")]
    assert len(paths) > 15
    assert all(path in text for path in paths)
