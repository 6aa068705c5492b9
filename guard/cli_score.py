"""``tayguard score``: JSON Lines in, JSON Lines out, in order and in constant memory."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from guard.cli_frame import CommandError, load_settings

if TYPE_CHECKING:
    from rich.progress import Progress

_BLOCK = 1024 * 1024


def score(
    *,
    explain: Annotated[bool, typer.Option("--explain", help="Say which part of a text carries a score.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that score many lines; one a core without it.")
    ] = None,
) -> None:
    """Score JSON Lines (or plain lines) from standard input to standard output."""
    from guard.score_flow import scored
    from guard.score_lines import Lines
    from guard.score_pool import Pool
    from guard.score_worker import Post, scorer_of
    from guard.wiring import first_policy

    if sys.stdin is None:
        raise CommandError("there is no standard input: give lines, as in `tayguard score < texts.jsonl`", 2)
    settings = load_settings()
    policy = first_policy(settings).to_json()
    post = Post(settings.model_dump(mode="json"), policy, os.getpid(), explain)
    count = workers or len(os.sched_getaffinity(0))
    hire = (lambda: Pool(count, post.to_line())) if count > 1 else None
    lines = Lines(sys.stdin.buffer)
    with closing(scored(lines, scorer_of(post), hire)) as rows:
        write_rows(_watched(rows, lines.descriptor), sys.stdout)


def write_rows(rows: Iterable[Sequence[str]], out: TextIO) -> None:
    """Write rows as soon as they are there."""
    for some in rows:
        out.write("".join(some))
        out.flush()


def write_lines(rows: Iterable[Mapping[str, Any]], out: TextIO) -> None:
    """Write JSON Lines, each as soon as it is there; a lone surrogate is escaped."""
    write_rows(([json.dumps(row, ensure_ascii=True, default=str) + "\n"] for row in rows), out)


def _watched(rows: Iterable[Sequence[str]], descriptor: int | None) -> Iterator[Sequence[str]]:
    """Yield the rows, counted on stderr when that is a terminal and standard output is not."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield from rows
        return
    with _progress() as progress:
        task = progress.add_task("score", total=lines_in(descriptor), rate="")
        for some in rows:
            yield some
            progress.update(task, advance=len(some), rate=f"{progress.tasks[0].speed or 0:,.0f} lines/s")


def _progress() -> Progress:
    """Return a line on stderr: how many of how many, how many a second, how long still."""
    from rich import progress
    from rich.console import Console

    columns = (
        progress.SpinnerColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("scored"),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    return progress.Progress(*columns, console=Console(stderr=True))


def lines_in(descriptor: int | None) -> int | None:
    """Return how many lines a regular file has from where it is read on, None for anything else."""
    if descriptor is None or not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return None
    at = os.lseek(descriptor, 0, os.SEEK_CUR)
    count, last = 0, b"\n"
    while block := os.pread(descriptor, _BLOCK, at):
        count += block.count(b"\n")
        at += len(block)
        last = block[-1:]
    return count + (last != b"\n")
