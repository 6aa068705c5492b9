"""`tayguard score` over many lines in constant memory: ``python -m bench.score_stream --lines 1000000``.

A real process reads short lines from a pipe. Resident memory of it and its processes together, the highest so far,
after 1 % of the lines (5,000 at least) and at the end. Writes ``bench/out/score_stream.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.figures import save
from bench.tables import table

LINES = 1_000_000
WORDS = ("a walk", "by the river", "this morning", "was long", "and quiet", "until noon", "I think", "we saw herons")
LOOK_EVERY = 50  # lines
EARLY = 5_000  # lines after which every process is up, whatever a hundredth is


@dataclass
class Watched:
    """The highest memory so far, in kB, of a process and its children."""

    pid: int
    peak_kb: int = 0

    def look(self) -> int:
        """Return the highest so far, the memory of now counted."""
        now = sum(map(resident_kb, (self.pid, *children_of(self.pid))))
        self.peak_kb = max(self.peak_kb, now)
        return self.peak_kb


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident_kb(pid: int) -> int:
    """Return a process's resident memory; 0 of one that is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    except (OSError, IndexError):
        return 0


def line_of(number: int) -> bytes:
    """Return a short line; a million of them differ."""
    words = " ".join(WORDS[number // step % len(WORDS)] for step in (1, 8, 64))
    return json.dumps({"id": number, "text": f"{words}, {number} of them."}).encode() + b"\n"


def feed(pipe: IO[bytes], count: int) -> None:
    with pipe:
        for number in range(count):
            pipe.write(line_of(number))


def measured(out: IO[bytes], pid: int, count: int) -> Iterator[tuple[int, int]]:
    """Yield lines done and the peak so far, each time a hundredth of them is done."""
    watched = Watched(pid)
    step = max(1, count // 100)
    for number, row in enumerate(out):
        if not number % LOOK_EVERY or number + 1 == count:
            watched.look()
        if not number % step or number + 1 == count:
            if json.loads(row)["id"] != number:
                raise RuntimeError(f"row {number} is not that of line {number}")
            yield number + 1, watched.peak_kb


def shown(figures: Mapping[str, float]) -> str:
    """Return the table."""
    rows = [
        ["lines", f"{figures['lines']:,}"],
        ["lines a second", f"{figures['lines_per_s']:,.0f}"],
        [
            f"highest memory of all processes after {figures['early_lines']:,} lines",
            f"{figures['peak_mb_early']:,.0f} MB",
        ],
        ["and at the end", f"{figures['peak_mb_at_end']:,.0f} MB"],
    ]
    return table(["`tayguard score`, short lines that all differ", "measured"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--workers", type=int, default=0, help="as of `tayguard score`; one a core without it")
    chosen = parser.parse_args()
    command = [sys.executable, "-m", "guard.cli", "score"]
    command += ["--workers", str(chosen.workers)] if chosen.workers else []
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="tayguard-bench-") as folder:
        environ = {**os.environ, "TAYGUARD_DATA_DIR": folder}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ)
        assert process.stdin is not None
        assert process.stdout is not None
        threading.Thread(target=feed, args=(process.stdin, chosen.lines), daemon=True).start()
        peaks = dict(measured(process.stdout, process.pid, chosen.lines))
        if process.wait() or max(peaks, default=0) != chosen.lines:
            raise RuntimeError("tayguard score did not score every line; its message stands above")
    took_s = time.perf_counter() - began
    early = next(done for done in peaks if done >= min(chosen.lines, max(EARLY, chosen.lines // 100)))
    figures = {
        "lines": chosen.lines,
        "lines_per_s": round(chosen.lines / took_s, 2),
        "early_lines": early,
        "peak_mb_early": round(peaks[early] / 1024, 1),
        "peak_mb_at_end": round(peaks[chosen.lines] / 1024, 1),
    }
    print(shown(figures))
    print(f"\n{save('score_stream', figures)}")


if __name__ == "__main__":
    main()
