"""The command line: JSON on stdout, one line on stderr, exit 2 for bad input and 1 for a failure."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guard import cli_frame
from guard.cli import app
from guard.cli_frame import printable
from guard.connect import marked_as_serving
from guard.learner_process import prepare
from guard.settings import load
from guard.wiring import Wiring
from learner.embedded import DataLock, EmbeddedRedis

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]
HELP = [
    ["serve"], ["score"], ["learn"], ["rollback"], ["freeze"], ["thaw"], ["stop"], ["start"], ["trace"], ["export"],
    ["audit"], ["doctor"], ["status"],
    *(["review", name] for name in ("list", "show", "release", "discard", "reopen", "undo")),
    *(["versions", name] for name in ("list", "show", "diff", "live-at")),
    *(["policy", name] for name in ("check", "show", "diff", "apply", "rollback")),
    *(["keys", name] for name in ("create", "list", "revoke")),
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with a first start behind it, and a Redis that commands find running, as beside a server."""
    folder = tmp_path_factory.mktemp("cli") / "data"
    settings = load(environ={"TAYGUARD_DATA_DIR": str(folder)})
    with DataLock(folder) as lock, EmbeddedRedis(folder, lock=lock) as server, marked_as_serving(folder):
        wiring = Wiring(settings, server.url)
        prepare(wiring)
        wiring.close()
        yield folder


def environment(folder: Path, **variables: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TAYGUARD_")}
    return {**clean, "TAYGUARD_DATA_DIR": str(folder), "PYTHONPATH": str(ROOT), **variables}


@pytest.fixture
def process(data: Path, tmp_path: Path) -> Run:
    """Run a command as a process of its own."""

    def call(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "guard.cli", *arguments],
            cwd=tmp_path, env=environment(data, **variables), input=stdin, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return call


@pytest.fixture
def run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process, which spares its start."""

    def call(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            for name, value in {"TAYGUARD_DATA_DIR": str(data), **variables}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            status = cli_frame.run(app, arguments)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, status, said.out, said.err)

    return call


def result(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusal(done: subprocess.CompletedProcess[str], status: int) -> str:
    assert (done.returncode, done.stdout) == (status, ""), (done.stdout, done.stderr)
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("command", HELP, ids=" ".join)
def test_every_command_has_help(command: list[str]) -> None:
    from typer.main import get_command

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - Exit is no common exception
        get_command(app).main([*command, "--help"], prog_name="tayguard", standalone_mode=True)
    assert getattr(caught.value, "code", None) == 0


def test_help_is_quick_and_imports_nothing_heavy(process: Run) -> None:
    code = (
        "import sys, guard.cli; "
        "print(*[m for m in ('numpy', 'onnxruntime', 'torch', 'fastapi', 'redis', 'pydantic') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
    assert "rollback" in process("--help").stdout


def test_commands_of_later_issues_are_not_listed(run: Run) -> None:
    text = run("--help").stdout
    assert not any(f"\n  {name} " in text for name in ("drift", "forget", "redteam", "references", "backup", "restore"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nope"], "--help"),
        (["rollback"], "previous"),
        (["rollback", "factory", "--undo"], "--undo"),
        (["keys", "create"], "--role"),
        (["learn"], "--once"),
        (["trace"], "--request"),
        (["review", "list", "--order", "size"], "uncertainty"),
        (["export", "--format", "parquet"], "jsonl"),
        (["export", "--what", "all"], "exchanges"),
        (["serve", "--port", "99999"], "port"),
        (["policy", "check", "no-such-file"], "cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_bad_arguments_are_one_line(run: Run, arguments: list[str], says: str) -> None:
    assert says in refusal(run(*arguments), 2)


def test_an_unknown_setting_is_one_line_with_the_nearest(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tayguard.toml").write_text("[server]\nprot = 1\n")
    assert "server.port" in refusal(run("serve"), 2)
    (tmp_path / "tayguard.toml").unlink()
    assert "TAYGUARD_SERVER__PORT" in refusal(run("status", TAYGUARD_SERVER__PROT="1"), 2)


def test_a_bad_policy_is_one_line(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[thresholds.in.toxicity]\nblok = 0.5\n")
    assert "did you mean 'block'" in refusal(run("policy", "check", str(bad)), 2)
    assert "did you mean 'block'" in refusal(run("policy", "apply", str(bad)), 2)


def test_a_bad_policy_file_stops_the_start(process: Run, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("thresholds = 3\n")
    done = process("serve", "--port", "0", TAYGUARD_DATA_DIR=str(tmp_path / "new"))
    assert done.returncode == 2
    assert "policy.toml" in done.stderr.splitlines()[-1]
    assert "must be a table" in done.stderr


def test_an_unknown_version_is_one_line(run: Run) -> None:
    assert "no version" in refusal(run("rollback", "nonsense", "--yes"), 2)
    assert "no version" in refusal(run("versions", "show", "nonsense"), 2)


def test_a_rollback_to_the_live_version_is_one_line(run: Run) -> None:
    assert "live already" in refusal(run("rollback", "factory", "--yes"), 1)


def test_an_unreachable_redis_is_one_line(run: Run) -> None:
    assert "store.redis_url" in refusal(run("status", TAYGUARD_STORE__REDIS_URL="redis://127.0.0.1:1/0"), 1)
    assert "store.redis_url" in refusal(run("status", TAYGUARD_STORE__REDIS_URL="127.0.0.1"), 2)


def test_weights_with_a_wrong_hash_are_one_line(run: Run, tmp_path: Path) -> None:
    shipped = ROOT / "filters" / "models"
    for path in shipped.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "encoder.onnx").open("r+b") as file:
        file.seek(5_000)
        file.write(b"\0\1\2\3")
    said = refusal(run("score", stdin="hello\n", TAYGUARD_SCORING__WEIGHTS=str(tmp_path)), 1)
    assert "encoder.onnx" in said


def test_a_locked_folder_is_one_line_that_names_the_process(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    with DataLock(folder):
        said = refusal(run("status", TAYGUARD_DATA_DIR=str(folder), TAYGUARD_STORE__LOCK_S="0"), 1)
    assert str(os.getpid()) in said


def test_a_command_works_without_a_server(process: Run, tmp_path: Path) -> None:
    folder = tmp_path / "alone"
    made = result(process("keys", "create", "--role", "client", "--json", TAYGUARD_DATA_DIR=str(folder)))
    listed = result(process("keys", "list", "--json", TAYGUARD_DATA_DIR=str(folder)))
    assert [row["id"] for row in listed] == [made["id"]]
    DataLock(folder).acquire(0.0)


def test_status_shows_the_pointer_and_the_samples(run: Run) -> None:
    found = result(run("status", "--json"))
    assert found["pointer"]["epoch"] >= 1
    assert found["samples"]["quarantined"] == 0


def test_the_factory_is_listed_as_live(run: Run) -> None:
    rows = result(run("versions", "list", "--json"))
    assert [(row["live"], row["factory"]) for row in rows] == [(True, True)]
    assert result(run("versions", "--json")) == rows
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 1))
    assert result(run("versions", "live-at", now, "--json"))["version"] == rows[0]["id"]


def test_learning_says_that_there_is_nothing(run: Run) -> None:
    assert result(run("learn", "--once", "--json"))["kind"] == "nothing"


def test_a_key_is_shown_once_and_can_be_revoked(run: Run) -> None:
    made = result(run("keys", "create", "--role", "client", "--note", "a test", "--json"))
    assert made["key"].startswith("tg_")
    listed = run("keys", "list", "--json").stdout
    assert made["key"] not in listed
    assert made["id"] in listed
    result(run("keys", "revoke", made["id"], "--json"))
    row = next(row for row in result(run("keys", "list", "--json")) if row["id"] == made["id"])
    assert row["revoked_ms"] > 0
    assert refusal(run("keys", "revoke", "key_unknown"), 2)
    assert "choose from" in refusal(run("keys", "create", "--role", "king"), 2)


def test_who_froze_learning_and_why_is_recorded(run: Run) -> None:
    assert result(run("freeze", "--actor", "au0", "--reason", "a look first", "--json"))["done"] == "freeze"
    assert "already" in refusal(run("freeze"), 1)
    assert result(run("learn", "--once", "--json"))["kind"] == "frozen"
    result(run("thaw", "--json"))
    events = result(run("audit", "--json"))
    assert ("frozen", "au0", "a look first") in [(e["type"], e["actor"], e["reason"]) for e in events]
    assert "unbroken" in run("audit", "--verify").stdout


def test_a_policy_is_compared_applied_and_taken_back(run: Run, tmp_path: Path) -> None:
    text = (ROOT / "filters" / "policy_default.toml").read_text().replace('on_store_down = "fixed"', "")
    strict = tmp_path / "strict.toml"
    strict.write_text(f'on_store_down = "serve"\n{text}')
    before = result(run("policy", "show", "--json"))["policy"]
    assert result(run("policy", "diff", str(strict), "--json"))["same"] is False
    assert result(run("policy", "apply", str(strict), "--json"))["changed"] is True
    assert result(run("policy", "rollback", "--json"))["policy"] == before


def test_an_unknown_sample_is_a_failure_with_its_name(run: Run) -> None:
    done = run("review", "release", "nobody")
    assert done.returncode == 1
    assert "nobody" in done.stderr
    assert refusal(run("review", "show", "nobody"), 2)


def test_scores_come_in_order_with_their_ids(run: Run) -> None:
    lines = ["plain words", '{"text": "hello", "id": 7}', '{"text": "fine", "prompt": "how are you?", "id": "x"}']
    rows = [json.loads(line) for line in run("score", stdin="\n".join(lines) + "\n\n").stdout.splitlines()]
    assert [(row["id"], row["text"]) for row in rows] == [(None, "plain words"), (7, "hello"), ("x", "fine")]
    assert all(set(row) >= {"scores", "verdict", "reasons", "coverage"} for row in rows)
    assert all(0 <= score <= 1 for row in rows for score in row["scores"].values())


@pytest.mark.parametrize("line", ['{"text": 3}', '{"text": "a"', '{"text": "a", "direction": "up"}', '{"id": 1}'])
def test_a_line_that_cannot_be_scored_is_named(run: Run, line: str) -> None:
    done = run("score", stdin=f"good\n{line}\n")
    assert done.returncode == 2
    assert "line 2" in done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_the_doctor_finds_nothing_wrong(run: Run) -> None:
    rows = result(run("doctor", "--json"))
    assert {"torch", "redis", "bot", "filter toxicity"} <= {row["what"] for row in rows}
    assert all(row["state"] != "bad" for row in rows)


def test_a_terminal_is_never_obeyed() -> None:
    assert printable("a\x1b]0;x\x07\nb\u202e") == "a\\x1b]0;x\\x07\\nb\\u202e"
