"""A stand-in for `tayguard score` with a filter of words: the command that scores lines, and a worker of its pool."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import BinaryIO

import typer

from filters import Guardian
from filters.types import Item, Scores
from guard import cli_frame
from guard.cli_score import write_rows
from guard.process import Ready, die_with
from guard.score_flow import scored
from guard.score_lines import Lines
from guard.score_pool import Pool
from guard.score_worker import Post, Scorer, answer, say
from tests.fakes import WordFilter
from tests.guarding import POLICY


class Words(WordFilter):
    """Remembers nothing; a text that says ``slow`` takes a while, one that says ``die`` ends the process."""

    def score_many(self, items: Sequence[Item]) -> list[Scores]:
        if "die" in items[0].text:
            os._exit(3)
        if "slow" in items[0].text:
            self.let_go.wait(0.01)
        return [self._score(item.text) for item in items]


def scorer() -> Scorer:
    """Return what scores here and in every worker."""
    return Scorer(Guardian((Words(),), POLICY, len))


def command(kind: str = "worker") -> tuple[str, ...]:
    """Return how a worker is started; ``refusing`` is one that cannot start."""
    return (sys.executable, "-m", "tests.score_child", kind)


def pool(count: int = 2, kind: str = "worker") -> Pool:
    """Return a pool of stand-ins."""
    return Pool(count, Post({}, "", os.getpid()).to_line(), command(kind))


def worker(lines: BinaryIO, out: BinaryIO, *, refusing: bool) -> None:
    """Run as a worker."""
    die_with(Post.from_line(lines.readline()).parent)
    if refusing:
        say(Ready(error="no weights here"))
        return
    say(Ready())
    answer(scorer(), lines, out)


def score(workers: int = 2) -> None:
    """Score standard input, in the pool as soon as it is there."""
    print(json.dumps({"pid": os.getpid()}), file=sys.stderr)
    hire = (lambda: pool(workers)) if workers > 1 else None
    write_rows(scored(Lines(sys.stdin.buffer), scorer(), hire, alone_bytes=0), sys.stdout)


if __name__ == "__main__":
    if sys.argv[1] in ("worker", "refusing"):
        worker(sys.stdin.buffer, sys.stdout.buffer, refusing=sys.argv[1] == "refusing")
    else:
        app = typer.Typer(pretty_exceptions_enable=False)
        app.command()(score)
        sys.exit(cli_frame.run(app, sys.argv[2:]))
