"""A real server process on loopback, with a data folder of its own, and the command line beside it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest

READY_TIMEOUT_S = 90


@dataclass
class Server:
    """One `tayguard serve` process; `kill` is the power cut, `stop` is Ctrl-C."""

    data_dir: Path
    workers: int = 1
    env: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[str] | None = None
    out: list[str] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TAYGUARD_")}
        return {**kept, "TAYGUARD_DATA_DIR": str(self.data_dir), **self.env}

    def start(self) -> Server:
        self.port = self.port or free_port()
        command = [sys.executable, "-m", "guard.cli", "serve", "--port", str(self.port), "--workers", str(self.workers)]
        log = (self.data_dir.parent / "server.log").open("a")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=self.environment(), start_new_session=True
        )
        log.close()
        ready = threading.Event()
        threading.Thread(target=self._read, args=(self.process, ready), daemon=True).start()
        if not ready.wait(READY_TIMEOUT_S) or self.process.poll() is not None:
            self.stop()
            raise AssertionError(f"the server did not get ready: {self.out} {self.log()[-3000:]}")
        return self

    def _read(self, process: subprocess.Popen[str], ready: threading.Event) -> None:
        assert process.stdout
        for line in process.stdout:
            self.out.append(line.rstrip())
            if line.lower().startswith("ready"):
                ready.set()
        process.stdout.close()
        ready.set()

    def log(self) -> str:
        path = self.data_dir.parent / "server.log"
        return path.read_text() if path.exists() else ""

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process = None

    def kill(self) -> None:
        """Kill -9 the supervisor alone: what it started has to go by itself."""
        if self.process:
            self.process.kill()
            self.process.wait(10)
        self.process = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return (self.data_dir / "key").read_text().strip()

    def client(self, author: str = "au0", conversation: str = "c1") -> openai.OpenAI:
        headers = {"X-Tayguard-Author": author, "X-Tayguard-Conversation": conversation}
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.key, default_headers=headers, max_retries=0)

    def cli(self, *args: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "guard.cli", *args],
            capture_output=True,
            text=True,
            env=self.environment(),
            timeout=120,
            check=False,
        )
        assert done.returncode == code, f"{args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    def cli_json(self, *args: str) -> Any:
        return json.loads(self.cli(*args, "--json"))


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server with one worker, for the tests of one file."""
    running = Server(tmp_path_factory.mktemp("served") / "data").start()
    yield running
    running.stop()
