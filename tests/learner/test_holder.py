"""Who holds the lease is known by name, and a name whose process was killed holds nothing for long."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from guard.settings import load
from guard.wiring import Wiring
from learner import lease
from learner.embedded import EmbeddedRedis
from learner.holder import is_dead, my_name

_SAY = "from learner.holder import my_name; print(my_name(), flush=True); input()"


@pytest.fixture
def other() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Another process that said its name and waits."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", _SAY], text=True, cwd=Path(__file__).parents[2], **pipes) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
        process.kill()


def test_a_process_is_dead_once_it_was_killed_and_not_before(other) -> None:
    name, process = other
    assert not is_dead(name)
    process.kill()
    process.wait(10)
    assert is_dead(name)


@pytest.mark.parametrize("name", ["", "host:1", "host:1:2", f"{my_name()}0".replace(":", "x:", 1)])
def test_nobody_is_declared_dead_who_may_live_elsewhere(name: str) -> None:
    assert not is_dead(name)


def test_a_pid_that_was_given_again_is_another_process() -> None:
    assert is_dead(f"{my_name()}0")


def test_the_lease_of_a_killed_learner_is_given_back_and_that_of_a_living_one_is_not(other, tmp_path: Path) -> None:
    name, process = other
    settings = load(environ={"TAYGUARD_DATA_DIR": str(tmp_path)})
    with EmbeddedRedis(tmp_path) as server:
        wiring = Wiring(settings, server.url)
        taken = wiring.store.run(lease.acquire(wiring.keys, name, 0, 120_000))
        wiring.end_dead_lease()
        assert wiring.store.run(lease.acquire(wiring.keys, wiring.holder, 1, 120_000)) is None
        process.kill()
        process.wait(10)
        wiring.end_dead_lease()
        token = wiring.store.run(lease.acquire(wiring.keys, wiring.holder, 2, 120_000))
        assert taken is not None
        assert token is not None
        assert token > taken
        wiring.close()
