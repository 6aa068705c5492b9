"""``tayguard score``: JSON Lines in, JSON Lines out, in order and in constant memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from guard.cli_frame import CommandError, load_settings

if TYPE_CHECKING:
    from filters import Guardian
    from filters.types import Direction, Item

_NAMES = ("text", "id", "prompt", "direction", "conversation", "author")


def score(
    *, explain: Annotated[bool, typer.Option("--explain", help="Say which part of a text carries a score.")] = False
) -> None:
    """Score JSON Lines (or plain lines) from standard input to standard output."""
    from filters import Guardian
    from guard.wiring import Wiring, first_policy

    settings = load_settings()
    wiring = Wiring(settings, "")
    guardian = Guardian(wiring.filters, first_policy(settings), wiring.encoder.count_tokens)
    write_lines(scored(_watched(sys.stdin.buffer), guardian, explain=explain), sys.stdout)


def scored(lines: Iterable[bytes], guardian: Guardian, *, explain: bool) -> Iterator[Mapping[str, Any]]:
    """Yield a report per line."""
    from filters.guardian import report

    for number, line in enumerate(lines, 1):
        text = _decoded(line, number)
        if not text.strip():
            continue
        item_id, item = _item(text, number)
        found, verdict = guardian.judge(item)
        row = {**report(item, None, found, verdict), "id": item_id}
        if not explain:
            row["reasons"] = [{**reason, "spans": []} for reason in row["reasons"]]
        yield row


def write_lines(rows: Iterable[Mapping[str, Any]], out: TextIO) -> None:
    """Write JSON Lines, each as soon as it is there; a lone surrogate is escaped."""
    for row in rows:
        out.write(json.dumps(row, ensure_ascii=True, default=str) + "\n")
        out.flush()


def _decoded(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as exc:
        raise CommandError(f"line {number} is not UTF-8: {exc.reason} at byte {exc.start}", 2) from exc


def _item(text: str, number: int) -> tuple[str | int | None, Item]:
    """Return a line's id and item: a JSON object with a ``text``, or the line as it is."""
    from filters.types import Item

    if not text.lstrip().startswith("{"):
        return None, Item(text)
    try:
        row = json.loads(text)
    except ValueError as exc:
        raise CommandError(f"line {number} begins like a JSON object but is none: {exc}", 2) from exc
    if not isinstance(row.get("text"), str):
        raise CommandError(f'line {number} has no "text"', 2)
    wrong = [name for name in _NAMES[2:] if row.get(name) is not None and not isinstance(row[name], str)]
    if wrong:
        raise CommandError(f"line {number}: {wrong[0]} must be a text", 2)
    item_id = row.get("id")
    if item_id is not None and not isinstance(item_id, str | int):
        raise CommandError(f"line {number}: id must be a text or a number", 2)
    item = Item(row["text"], _direction(row, number), row.get("prompt"), row.get("author"), row.get("conversation"))
    return item_id, item


def _direction(row: Mapping[str, Any], number: int) -> Direction:
    given = row.get("direction") or ("out" if row.get("prompt") is not None else "in")
    if given in ("in", "out"):
        return "in" if given == "in" else "out"
    raise CommandError(f"line {number}: direction is in or out, not {given[:20]!r}", 2)


def _watched(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines, counted on stderr when that is a terminal and standard output is not."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield from lines
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed} scored"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("score", total=None)
        for line in lines:
            yield line
            progress.advance(task)
