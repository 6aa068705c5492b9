"""From a fresh clone to the first answered message, packages from the registry. ``python -m bench.clone``.

What a newcomer waits for: the clone, ``make run`` with an empty package cache, one message.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from bench.server import ROOT

PATIENCE_S = 600.0


def first_answer(folder: Path, port: int) -> float:
    """Return seconds from the start of the clone to the first answer."""
    clone = folder / "tayguard"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TAYGUARD_") and k != "VIRTUAL_ENV"}
    variables = {**kept, "TAYGUARD_SERVER__PORT": str(port), "PIP_NO_CACHE_DIR": "1"}
    began = time.perf_counter()
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    run = subprocess.Popen(
        ["make", "run"],
        cwd=clone,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert run.stdout is not None
        if not any(line.startswith("ready") for line in run.stdout):
            raise RuntimeError("`make run` in the clone did not get ready; run it by hand to see why")
        key = (clone / "data" / "key").read_text().strip()
        body = json.dumps({"model": "tay", "messages": [{"role": "user", "content": "hello there"}]}).encode()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            json.load(answer)
        return time.perf_counter() - began
    finally:
        os.killpg(run.pid, signal.SIGINT)
        run.communicate(timeout=PATIENCE_S)


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="tayguard-clone-") as folder:
        seconds = first_answer(Path(folder), port)
    print("| from clone to the first answered message |")
    print("| --- |")
    print(f"| {seconds:.0f} s |")


if __name__ == "__main__":
    main()
