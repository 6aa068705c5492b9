"""Models at an upstream as versions: the live route answers, and a rollback goes to an earlier one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from guard import cli_frame
from guard.cli import app
from guard.learner_process import prepare
from guard.operations import Operations
from guard.settings import ConfigurationError, load
from guard.supervisor import embedded_key
from guard.wiring import Wiring
from guard.wiring_app import app_of
from tests.fakes import UpstreamServer

ROUTES = '[upstream.routes]\nnewest = "model-3"\nmiddle = "model-2"\noldest = "model-1"\n'
Make = Callable[[str], Wiring]


@pytest.fixture
def upstream() -> Iterator[UpstreamServer]:
    server = UpstreamServer()
    yield server
    server.close()


@pytest.fixture
def make(redis_url: str, bot_keys: Any, upstream: UpstreamServer, tmp_path: Path) -> Iterator[Make]:
    """Wire a guard in front of the upstream, as after a start with these routes."""
    made: list[Wiring] = []

    def wired(routes: str) -> Wiring:
        head = f'[bot]\nid = "{bot_keys.bot}"\n[store]\nredis_url = "{redis_url}"\n[upstream]\nurl = "{upstream.url}"\n'
        (tmp_path / "tayguard.toml").write_text(head + routes)
        settings = load(tmp_path / "tayguard.toml", {"TAYGUARD_DATA_DIR": str(tmp_path)})
        made.append(Wiring(settings, redis_url))
        prepare(made[-1])
        return made[-1]

    embedded_key(tmp_path)
    yield wired
    for wiring in made:
        wiring.close()


@pytest.fixture
def client(make: Make, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(app_of(make(ROUTES), loopback=True), base_url="http://127.0.0.1") as found:
        found.headers["Authorization"] = f"Bearer {(tmp_path / 'key').read_text().strip()}"
        yield found


def said(client: TestClient, upstream: UpstreamServer, text: str, conversation: str = "c") -> tuple[str, str]:
    """Chat once; return the version that the answer names and the model that the upstream was asked for."""
    reply = {"role": "assistant", "content": "Fine, thank you."}
    upstream.script.append((200, {}, [json.dumps({"choices": [{"index": 0, "message": reply}]}).encode()]))
    names = {"X-Tayguard-Author": "au1", "X-Tayguard-Conversation": conversation}
    body = {"model": "whatever", "messages": [{"role": "user", "content": text}]}
    answer = client.post("/v1/chat/completions", json=body, headers=names)
    assert answer.status_code == 200, answer.text
    return answer.headers["X-Tayguard-Version"], upstream.requests[-1][2]["model"]


def test_a_rollback_switches_the_model_and_quarantines_what_came_from_the_other(
    client: TestClient, upstream: UpstreamServer
) -> None:
    admin = "/admin/api"
    assert said(client, upstream, "How are you?") == ("upstream:model-3", "model-3")
    said(client, upstream, "I am well, the sun is out.")
    (held,) = client.get(f"{admin}/samples", params={"state": "held"}).json()
    assert held["version"] == "upstream:model-3"

    done = client.post(f"{admin}/rollback", json={"to": "middle", "reason": "it sulks"}).json()
    assert (done["live"], done["undone"], done["samples"]) == ("upstream:model-2", ["upstream:model-3"], 1)
    assert said(client, upstream, "And now?", "d") == ("upstream:model-2", "model-2")
    assert client.get(f"{admin}/samples/{held['id']}").json()["state"] == "quarantined"
    status = client.get(f"{admin}/status").json()["pointer"]
    assert (status["frozen"], status["previous"], status["epoch"]) == (True, "upstream:model-3", done["epoch"])
    assert {"rollback", "rollback_done"} <= {row["type"] for row in client.get(f"{admin}/audit").json()}
    rows = {row["name"]: row for row in client.get(f"{admin}/versions").json()}
    assert list(rows) == ["oldest", "middle", "newest"]
    assert [name for name, row in rows.items() if row["live"]] == ["middle"]
    assert [name for name, row in rows.items() if row["undone"]] == ["newest"]
    shown = client.get(f"{admin}/versions/middle").json()
    assert (shown["record"]["parent"], shown["samples_in_all"]) == ("upstream:model-1", 0)

    client.post(f"{admin}/rollback/undo", json={})
    assert said(client, upstream, "And again?", "e")[1] == "model-3"
    assert client.get(f"{admin}/samples/{held['id']}").json()["state"] == "held"


def test_a_rollback_outlives_a_restart_and_previous_goes_back(make: Make) -> None:
    operations = Operations(make(ROUTES))
    operations.rollback("oldest", "olga", "")
    again = Operations(make(ROUTES))
    assert again.status()["pointer"]["live"] == "upstream:model-1"
    assert again.rollback("previous", "olga", "")["live"] == "upstream:model-3"
    assert again.live_at("2999-01-01")["version"] == "upstream:model-3"


def test_a_live_model_that_no_route_names_any_more_gives_way_to_the_first(make: Make) -> None:
    make(ROUTES)
    operations = Operations(make('[upstream.routes]\nother = "model-9"\noldest = "model-1"\n'))
    assert operations.status()["pointer"]["live"] == "upstream:model-9"
    assert [row["name"] for row in operations.versions() if row["live"]] == ["other"]


def test_an_upstream_can_be_stopped_and_started_without_a_gate(client: TestClient, upstream: UpstreamServer) -> None:
    assert client.post("/admin/api/switch/stop", json={}).status_code == 200
    body = {"messages": [{"role": "user", "content": "hello"}]}
    assert client.post("/v1/chat/completions", json=body).status_code == 200
    assert [path for path, _, body in upstream.requests if body] == []
    assert client.post("/admin/api/switch/start", json={}).status_code == 200
    assert said(client, upstream, "hello")[1] == "model-3"


@pytest.mark.parametrize(
    ("routes", "arguments", "status", "says"),
    [
        ("", ["learn", "--once"], 1, "tayguard export"),
        ("", ["rollback", "previous"], 1, "[upstream.routes]"),
        (ROUTES, ["learn", "--once"], 1, "tayguard export"),
        (ROUTES, ["rollback", "newest"], 1, "live already"),
        (ROUTES, ["rollback", "factory"], 2, "newest, middle, oldest"),
        (ROUTES, ["rollback", "--undo"], 1, "no rollback"),
    ],
)
def test_what_an_upstream_cannot_do_is_one_line_that_says_how_to(
    make: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    routes: str,
    arguments: list[str],
    status: int,
    says: str,
) -> None:
    make(routes)
    monkeypatch.setenv("TAYGUARD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TAYGUARD_CONFIG", str(tmp_path / "tayguard.toml"))
    assert cli_frame.run(app, arguments) == status
    printed = capsys.readouterr().err
    assert says in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        '[upstream.routes]\na = "m"\n',
        '[upstream]\nurl = "http://h/v1"\nmodel = "m"\n[upstream.routes]\na = "n"\n',
        '[upstream]\nurl = "http://h/v1"\n[upstream.routes]\na = "m"\nb = "m"\n',
        '[upstream]\nurl = "http://h/v1"\n[upstream.routes]\nprevious = "m"\n',
        '[upstream]\nurl = "http://h/v1"\n[upstream.routes]\n"a b" = "m"\n',
    ],
)
def test_routes_that_cannot_be_told_apart_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(ConfigurationError, match="upstream") as caught:
        load(tmp_path / "t.toml", {})
    assert "\n" not in str(caught.value)
