"""A process that scores lines for ``tayguard score``: a line in, a line out, in order, until its input ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from guard.process import Ready, die_with
from guard.score_lines import parsed

if TYPE_CHECKING:
    from filters import Guardian
    from filters.types import Item


@dataclass(frozen=True, slots=True)
class Post:
    """What a scoring process learns from its parent, in the first line of its standard input."""

    settings: Mapping[str, Any]
    policy: str
    parent: int
    explain: bool = False

    def to_line(self) -> bytes:
        """Return the line that :meth:`from_line` reads."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Post:
        """Return what the parent said."""
        return cls(**json.loads(line))


@dataclass(frozen=True, slots=True)
class Scorer:
    """Items in, lines of ``tayguard score`` out."""

    guardian: Guardian
    explain: bool = False

    def row(self, item_id: str | int | None, item: Item) -> str:
        """Return the line for an item; a lone surrogate is escaped."""
        from filters.guardian import report

        found, verdict = self.guardian.judge(item)
        row = {**report(item, None, found, verdict), "id": item_id}
        if not self.explain:
            row["reasons"] = [{**reason, "spans": []} for reason in row["reasons"]]
        return json.dumps(row, ensure_ascii=True, default=str) + "\n"


def scorer_of(post: Post) -> Scorer:
    """Return the scorer of the parent's settings and policy."""
    from filters import Guardian
    from filters.policy import Policy
    from guard.settings import from_json
    from guard.wiring import Wiring

    wiring = Wiring(from_json(json.dumps(post.settings)), "")
    guardian = Guardian(wiring.filters, Policy.from_json(post.policy), wiring.encoder.count_tokens)
    return Scorer(guardian, post.explain)


def answer(scorer: Scorer, lines: BinaryIO, out: BinaryIO) -> None:
    """Score every line; the parent has found each to be one that can be scored."""
    for line in lines:
        out.write(scorer.row(*parsed(line.decode("utf-8").rstrip("\r\n"), 0)).encode("ascii"))
        out.flush()


def say(ready: Ready) -> None:
    """Say to the parent that this process is ready, or why it cannot be."""
    sys.stdout.buffer.write(json.dumps(asdict(ready)).encode() + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    """Run one scoring process."""
    from filters.errors import FilterError
    from guard.settings import ConfigurationError

    post = Post.from_line(sys.stdin.buffer.readline())
    die_with(post.parent)
    try:
        scorer = scorer_of(post)
    except (ConfigurationError, FilterError) as exc:
        say(Ready(error=str(exc)))
        return 1
    say(Ready())
    answer(scorer, sys.stdin.buffer, sys.stdout.buffer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
