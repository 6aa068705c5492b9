"""The supervisor starts, watches and stops its children and Redis, and never leaves an orphan."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from learner.embedded import DataLock, EmbeddedRedis
from learner.errors import DataFolderError

ROOT = Path(__file__).parents[2]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a supervisor with stand-in children on ``tmp_path``; what still runs at the end is ended."""
    started: list[subprocess.Popen[str]] = []

    def run(**variables: str) -> subprocess.Popen[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("TAYGUARD_")}
        environ = {**clean, "TAYGUARD_DATA_DIR": str(tmp_path / "data"), "TAYGUARD_SERVER__PORT": "0", **variables}
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.child", "serve"],
            cwd=ROOT, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


def lines_until_ready(process: subprocess.Popen[str]) -> list[str]:
    lines: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith("ready in"):
            return lines
    _, error = process.communicate()
    raise AssertionError(f"never ready: {lines} {error}")


def pid_in(path: Path) -> int:
    return int(path.read_text())


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def wait_until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def redis_pid(data: Path) -> int:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"redis-server" in words[0] and str(data / "redis" / "redis.sock").encode() in b" ".join(words):
            return int(folder.name)
    raise AssertionError("no redis-server of this folder")


def answer(lines: list[str]) -> int:
    url = next(line.split()[1] for line in lines if line.startswith("console"))
    with urllib.request.urlopen(url, timeout=10) as response:
        return int(response.read())


def test_it_says_where_everything_is_and_when_it_is_ready(start: Start, tmp_path: Path) -> None:
    lines = lines_until_ready(start())
    key = tmp_path / "data" / "key"
    assert [line.split()[0] for line in lines] == ["note:", "console", "API", "key", "try", "ready"]
    assert lines[0] == "note: said the learner"
    assert f'"Authorization: Bearer $(cat {key})"' in lines[4]
    assert "X-Tayguard-Author" in lines[4]
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_text().startswith("tg_")


def test_workers_share_the_socket_and_a_stop_ends_every_process(start: Start, tmp_path: Path) -> None:
    process = start(TAYGUARD_SERVER__WORKERS="2")
    lines = lines_until_ready(process)
    data = tmp_path / "data"
    pids = [pid_in(data / name) for name in ("pid-worker-0", "pid-worker-1", "pid-learner-0")]
    assert answer(lines) in pids[:2]
    server = redis_pid(data)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert all(gone(pid) for pid in [*pids, server])
    DataLock(data).acquire(0.0)


def test_kill_9_of_the_supervisor_leaves_no_orphan(start: Start, tmp_path: Path) -> None:
    process = start()
    lines_until_ready(process)
    data = tmp_path / "data"
    pids = [redis_pid(data), pid_in(data / "pid-worker-0"), pid_in(data / "pid-learner-0")]
    process.kill()
    wait_until(lambda: all(gone(pid) for pid in pids))
    with EmbeddedRedis(data):
        pass


def test_a_worker_that_dies_is_started_again(start: Start, tmp_path: Path) -> None:
    process = start()
    lines = lines_until_ready(process)
    before = pid_in(tmp_path / "data" / "pid-worker-0")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: pid_in(tmp_path / "data" / "pid-worker-0") != before)
    assert answer(lines) != before


def test_a_redis_that_dies_is_started_again(start: Start, tmp_path: Path) -> None:
    lines_until_ready(start())
    data = tmp_path / "data"
    before = redis_pid(data)
    os.kill(before, signal.SIGKILL)

    def again() -> bool:
        try:
            return redis_pid(data) != before
        except AssertionError:
            return False

    wait_until(again)


def refusal(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, error = process.communicate(timeout=60)
    assert error.count("\n") == 1, error
    return process.returncode, error


def test_a_taken_port_is_one_line(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, error = refusal(start(TAYGUARD_SERVER__PORT=port))
    assert status == 1
    assert port in error
    assert "--port" in error


def test_an_address_that_is_not_ours_is_one_line(start: Start) -> None:
    status, error = refusal(start(TAYGUARD_SERVER__HOST="no.such.host.invalid"))
    assert status == 1
    assert "server.host" in error


def test_a_second_serve_names_the_first(start: Start) -> None:
    first = start()
    lines_until_ready(first)
    status, error = refusal(start())
    assert status == 1
    assert str(first.pid) in error


def test_an_unreachable_redis_is_one_line(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    status, error = refusal(start(TAYGUARD_STORE__REDIS_URL=f"redis://127.0.0.1:{port}/0"))
    assert status == 1
    assert "redis_url" in error


def test_another_address_than_loopback_needs_keys(start: Start) -> None:
    status, error = refusal(start(TAYGUARD_SERVER__HOST="0.0.0.0"))
    assert status == 2
    assert "keys create" in error


def test_what_a_child_refuses_is_the_one_line(start: Start, tmp_path: Path) -> None:
    status, error = refusal(start(TG_TEST_ERROR="mend the policy"))
    assert (status, error) == (2, "mend the policy\n")
    DataLock(tmp_path / "data").acquire(0.0)


def test_an_external_redis_is_used_and_left_running(start: Start, redis_url: str, tmp_path: Path) -> None:
    process = start(TAYGUARD_STORE__REDIS_URL=redis_url)
    lines_until_ready(process)
    with pytest.raises(AssertionError):
        redis_pid(tmp_path / "data")


def test_the_lock_outlasts_nobody(start: Start, tmp_path: Path) -> None:
    lines_until_ready(start())
    with pytest.raises(DataFolderError, match="in use by process"):
        DataLock(tmp_path / "data").acquire(0.0)


def test_the_supervisor_imports_no_ml_library() -> None:
    code = "import sys, guard.supervisor; print(*[m for m in ('numpy', 'onnxruntime', 'torch') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
