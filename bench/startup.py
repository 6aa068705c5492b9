"""How long a start takes: to the ready line, and to the first answered message. ``python -m bench.startup``."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from bench.server import serving

ROUNDS = 5


def start(data_dir: Path) -> tuple[float, float]:
    """Return seconds from the start to ready, and to the first answer."""
    began = time.perf_counter()
    with serving(data_dir) as server:
        server.say("hello there", "bench", "bench")
        return server.ready_s, time.perf_counter() - began


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tayguard-bench-") as folder:
        data_dir = Path(folder) / "data"
        first = start(data_dir)
        later = [start(data_dir) for _ in range(ROUNDS)]
    ready, answered = (statistics.median(column) for column in zip(*later, strict=True))
    print("| start | ready | first answer |")
    print("| --- | --- | --- |")
    print(f"| on a new data folder | {first[0]:.1f} s | {first[1]:.1f} s |")
    print(f"| again (median of {ROUNDS}) | {ready:.1f} s | {answered:.1f} s |")


if __name__ == "__main__":
    main()
