"""How long after a rollback the undone version can still answer, on any worker. ``python -m bench.rollback``.

Clients talk without a pause over new connections, which the kernel spreads over the workers. Measured is the time from
sending the rollback to the *begin* of the last message that the undone version answered, and to the end of the call.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path

from bench.server import Running, serving

ROUNDS = 10
CLIENTS_PER_WORKER = 2
SETTLE_S = 0.3
PATIENCE_S = 60.0


class Client(threading.Thread):
    """Talks until told to stop; ``heard`` holds when a message began, and which version answered."""

    def __init__(self, server: Running, name: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.server, self.stop = server, stop
        self.name = name
        self.heard: list[tuple[float, str]] = []

    def run(self) -> None:
        """Talk."""
        number = 0
        while not self.stop.is_set():
            number += 1
            began = time.perf_counter()
            headers, _ = self.server.say("hello there", self.name, f"{self.name}-{number}")
            self.heard.append((began, str(headers["x-tayguard-version"])))


def learn_something(server: Running) -> str:
    """Return the version that learned one reviewed turn."""
    server.say("hello there", "teacher", "lesson")
    server.say("I keep bees behind the old library", "teacher", "lesson")
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:  # the server's own learner may be quicker than we are
        server.call("/admin/api/learn", {})
        _, versions = server.call("/admin/api/versions")
        live = next(version for version in versions if version["live"])
        if not live["factory"]:
            return str(live["id"])
        time.sleep(SETTLE_S)
    raise RuntimeError("nothing was learned, so there is nothing to roll back")


def rolled_back(server: Running, clients: list[Client]) -> tuple[float, float, float]:
    """Return milliseconds: until the undone version last began to answer, of the pointer's move, of the whole call."""
    _, status = server.call("/admin/api/status")
    undone = status["pointer"]["live"]
    time.sleep(SETTLE_S)
    sent = time.perf_counter()
    _, result = server.call("/admin/api/rollback", {"to": "factory", "reason": "bench"})
    done = time.perf_counter()
    time.sleep(SETTLE_S)
    late = [began - sent for client in clients for began, version in client.heard if version == undone and began > sent]
    return max(late, default=0.0) * 1000, result["pointer_ms"], (done - sent) * 1000


def measure(workers: int) -> str:
    with tempfile.TemporaryDirectory(prefix="tayguard-bench-") as folder:
        data_dir = Path(folder) / "data"
        with serving(data_dir, workers=workers, TAYGUARD_LEARNING__COOL_DOWN_S="0") as server:
            learn_something(server)
            stop = threading.Event()
            clients = [Client(server, f"client-{n}", stop) for n in range(CLIENTS_PER_WORKER * workers)]
            for client in clients:
                client.start()
            rounds = []
            for _ in range(ROUNDS):
                rounds.append(rolled_back(server, clients))
                server.call("/admin/api/rollback/undo", {"reason": "bench"})
            stop.set()
            for client in clients:
                client.join()
    last, pointer, whole = zip(*rounds, strict=True)
    return (
        f"| {workers} | {statistics.median(last):.0f} ms | {max(last):.0f} ms "
        f"| {statistics.median(pointer):.0f} ms | {statistics.median(whole):.0f} ms |"
    )


def main() -> None:
    print(f"| workers | undone version last heard (median of {ROUNDS}) | worst | pointer moved | call returned |")
    print("| --- | --- | --- | --- | --- |")
    for workers in (2, 4):
        print(measure(workers), flush=True)


if __name__ == "__main__":
    main()
