"""A real server process for the figures that need one; not a figure by itself."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Running:
    """A server that is ready. ``ready_s`` is how long that took, from the start of its process."""

    url: str
    key: str
    ready_s: float
    process: subprocess.Popen[str]

    def call(self, path: str, body: Mapping[str, Any] | None = None, **headers: str) -> tuple[dict[str, Any], Any]:
        """Return headers and JSON of one request over a connection of its own."""
        data = None if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(
            self.url + path,
            data,
            {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **named},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return {k.lower(): v for k, v in answer.headers.items()}, json.load(answer)

    def say(self, text: str, author: str, conversation: str) -> tuple[dict[str, Any], Any]:
        """Return headers and body of one chat completion."""
        body = {"model": "tay", "messages": [{"role": "user", "content": text}]}
        named = {"X_Tayguard_Author": author, "X_Tayguard_Conversation": conversation}
        return self.call("/v1/chat/completions", body, **named)


@contextmanager
def serving(data_dir: Path, *, workers: int = 1, **variables: str) -> Iterator[Running]:
    """Run ``tayguard serve`` on ``data_dir`` and a free port, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TAYGUARD_")}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "guard.cli", "serve", "--port", str(port), "--workers", str(workers)],
        cwd=ROOT,
        env={**clean, "TAYGUARD_DATA_DIR": str(data_dir), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        if not any(line.startswith("ready") for line in process.stdout):
            raise RuntimeError("the server did not start; run it by hand to see why")
        ready_s = time.perf_counter() - began
        yield Running(f"http://127.0.0.1:{port}", (data_dir / "key").read_text().strip(), ready_s, process)
    finally:
        process.terminate()
        process.communicate(timeout=60)
