"""What one message costs, prompt and reply scored and captured. ``python -m bench.message``.

One worker, one client, one message at a time; the hops are read from the guard's own metrics of the same run.
"""

from __future__ import annotations

import http.client
import json
import re
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from bench.server import Running, serving

MESSAGES = 300
WARM_UP = 20
TEXT = "I went for a walk by the river this morning and saw two herons; one of them was asleep on one leg."
HOP = re.compile(r'^tayguard_hop_ms_(sum|count)\{hop="(\w+)"\} ([\d.e+]+)$', re.MULTILINE)


def hops(server: Running) -> dict[str, tuple[float, float]]:
    """Return each hop's milliseconds in all, and how many there were."""
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {server.key}"})
    text = connection.getresponse().read().decode()
    connection.close()
    found: dict[str, dict[str, float]] = {}
    for kind, hop, value in HOP.findall(text):
        found.setdefault(hop, {})[kind] = float(value)
    return {hop: (values["sum"], values["count"]) for hop, values in found.items()}


def talk(server: Running, count: int, name: str) -> list[float]:
    """Return the milliseconds of each of ``count`` messages, each in a conversation of its own."""
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    body = json.dumps({"model": "tay", "messages": [{"role": "user", "content": TEXT}]})
    took = []
    for number in range(count):
        headers = {
            "Authorization": f"Bearer {server.key}",
            "Content-Type": "application/json",
            "X-Tayguard-Author": name,
            "X-Tayguard-Conversation": f"{name}-{number}",
        }
        began = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", body, headers)
        answer = connection.getresponse()
        answer.read()
        took.append((time.perf_counter() - began) * 1000)
        if answer.status != 200 or answer.headers["X-Tayguard-Captured"] != "yes":
            raise RuntimeError(f"message {number} was not answered and captured: {answer.status}")
    connection.close()
    return took


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tayguard-bench-") as folder, serving(Path(folder) / "data") as server:
        talk(server, WARM_UP, "warm")
        before = hops(server)
        took = sorted(talk(server, MESSAGES, "bench"))
        after = hops(server)
    print(f"| message of {len(TEXT)} characters, {MESSAGES} of them | p50 | p99 |")
    print("| --- | --- | --- |")
    print(f"| whole | {statistics.median(took):.1f} ms | {took[int(len(took) * 0.99)]:.1f} ms |")
    print("\n| hop | mean |\n| --- | --- |")
    for hop, (total, count) in after.items():
        was_total, was_count = before.get(hop, (0.0, 0.0))
        if count > was_count:
            print(f"| {hop} | {(total - was_total) / (count - was_count):.1f} ms |")


if __name__ == "__main__":
    main()
