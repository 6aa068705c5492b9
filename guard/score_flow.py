"""From lines to rows, in order: here at first, so that a few lines pay for nothing, then by a pool of processes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack

from guard.score_lines import Line, LineError, Lines
from guard.score_pool import Pool
from guard.score_worker import Scorer

ALONE_BYTES = 20_000
"""Scored here before a pool is started: takes about as long as its processes take to start, see `bench/speed.py`."""


def scored(
    lines: Lines, here: Scorer, hire: Callable[[], Pool] | None = None, alone_bytes: int = ALONE_BYTES
) -> Generator[Sequence[str], None, None]:
    """Yield the rows of all lines in order, each as soon as it and those before it are there.

    While the pool that ``hire`` makes is starting, scoring goes on here. Without one, everything is scored here.

    Raises
    ------
    LineError
        A line cannot be scored; the rows of all lines before it were yielded.
    """
    done_bytes = 0
    pool: Pool | None = None
    with ExitStack() as stack:
        while True:
            if pool is None and hire is not None and done_bytes >= alone_bytes:
                pool = stack.enter_context(hire())
            if pool is not None and pool.ready:
                yield from together(lines, pool)
                return
            line = _next(lines)
            if line is None:
                return
            done_bytes += len(line.raw)
            yield [here.row(line.id, line.item)]


def together(lines: Lines, pool: Pool) -> Generator[Sequence[str], None, None]:
    """Yield the rows of all lines in order, scored by the pool.

    Raises
    ------
    LineError
        A line cannot be scored; the rows of all lines before it were yielded.
    """
    refusal: LineError | None = None
    while pool.in_flight or not (refusal or lines.at_end):
        hungry = False
        try:
            hungry = refusal is None and _fill(pool, lines)
            if rows := pool.rows():
                yield rows
            elif not hungry:
                pool.wait()
            elif lines.descriptor is None or pool.wait(lines.descriptor):
                lines.read()
        except LineError as exc:
            refusal = exc
    if refusal:
        raise refusal


def _fill(pool: Pool, lines: Lines) -> bool:
    """Submit lines while there is room for them; returns whether more have to be read first."""
    while pool.has_room:
        line = lines.take()
        if line is None:
            return not lines.at_end
        pool.submit(line.raw)
    return False


def _next(lines: Lines) -> Line | None:
    while (line := lines.take()) is None and not lines.at_end:
        lines.read()
    return line
