"""``tayguard versions``, ``rollback`` and ``trace``: what was live, what is behind it, and the way back."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from guard.cli_frame import (
    Actor,
    AsJson,
    CommandError,
    Reason,
    Row,
    Yes,
    at,
    confirm,
    operations,
    print_fields,
    print_line,
    print_table,
    short,
    show,
)  # fmt: skip
from learner.types import brief

_NONE = "no version yet: start the server once; those of an upstream are named under [upstream.routes]"
app = typer.Typer(help="What was live when, and what it learned from.", rich_markup_mode=None)
Version = Annotated[str, typer.Argument(help="Id or its beginning, factory, previous, or a time.", metavar="VERSION")]


@app.callback(invoke_without_command=True)
def _default(context: typer.Context, *, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        _list(as_json=as_json)


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """List every version, the oldest first."""
    _list(as_json=as_json)


def _list(*, as_json: bool) -> None:
    with operations() as ops:
        rows = ops.versions()
    columns = {
        "version": lambda row: f"{row['name']}  {row['id']}" if row["name"] else brief(row["id"]),
        "": _marks,
        "live since (UTC)": lambda row: at(row["promoted_ms"][-1]) if row["promoted_ms"] else "never",
        "samples": lambda row: row["samples"],
        "authors": lambda row: row["authors"],
        "rows": lambda row: row["rows"],
        "gate": lambda row: row["gate"].get("outcome", ""),
    }
    show(
        rows,
        as_json=as_json,
        table=lambda found: print_table(found, columns, empty=_NONE),
    )


def _marks(row: Row) -> str:
    return " ".join(name for name in ("live", "factory", "undone") if row[name])


@app.command("show")
def show_(version: Version, *, as_json: AsJson = False) -> None:
    """Show a version: its parent, its gate, and every sample it learned from."""
    with operations() as ops:
        page = ops.version(version)
    show(page, as_json=as_json, table=_page)


def _page(page: Row) -> None:
    record = page["record"]
    print_fields(
        {
            "version": record["id"], "parent": record["parent"] or "-", "state": _marks(record) or "-",
            "gate": record["gate"].get("outcome", "-"), "rows": record["rows"],
            "samples": f"{len(page['learned'])} here, {page['samples_in_all']} in all",
            "released by": _counted(page["released_by"], " sample"),
            "reasons": _counted(page["labels"], " sample"),
        }
    )  # fmt: skip
    for line in page["learned"]:
        print_line(
            f"learned  {line['id']}  author {line['author'][:8]}  {at(line['captured_ms'])}  {_why(line)}".rstrip()
        )


def _counted(counts: Row, of: str = "") -> str:
    found = (f"{name} {count}{of}{'s' if of and count != 1 else ''}" for name, count in counts.items())
    return ", ".join(found) or "-"


def _why(line: Row) -> str:
    return ", ".join(dict.fromkeys(str(reason["label"]) for reason in line["reasons"]))


@app.command()
def diff(first: Version, second: Version, *, as_json: AsJson = False) -> None:
    """Show what two versions do not share."""
    with operations() as ops:
        found = ops.version_diff(first, second)
    show(found, as_json=as_json, table=_difference)


def _difference(found: Row) -> None:
    for side, name in (("only_first", found["first"]), ("only_second", found["second"])):
        print_line(f"only in {brief(name)}: {len(found[side])} samples")
        for line in found[side]:
            print_line(f"  {line['id']}  author {line['author'][:8]}  {_why(line)}".rstrip())
    for probe, (before, after) in found["probes"].items():
        print_line(f"{probe}: {before} -> {after}")


@app.command("live-at")
def live_at(time: Annotated[str, typer.Argument(help="Like 2026-03-23T14:00; UTC unless said.", metavar="TIME")],
            *, as_json: AsJson = False) -> None:  # fmt: skip
    """Say which version was live at a time."""
    with operations() as ops:
        found = ops.live_at(time)
    show(found, as_json=as_json, table=lambda row: print_line(row["version"] or "nothing was live then"))


def rollback(
    to: Annotated[
        str | None, typer.Argument(help="A version, a time, factory, previous, or a route.", metavar="TO")
    ] = None,
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Reverse the last rollback.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    reason: Reason = "",
    yes: Yes = False,
    actor: Actor,
    as_json: AsJson = False,
) -> None:
    """Move the bot back to an earlier version, at once for every worker; learning stays frozen until `thaw`."""
    if (to is None) == (not undo):
        raise CommandError("name a version, a time, `factory` or `previous`; or give --undo alone", 2)
    with operations() as ops:
        if to is None:
            confirm("Reverse the last rollback?", yes=yes)
            show(ops.rollback_undo(actor, reason), as_json=as_json, table=_undone)
            return
        plan = ops.rollback_preview(to)
        if dry_run:
            show(plan, as_json=as_json, table=_plan)
            return
        if not as_json:
            _plan(plan)
        confirm(f"Roll back to {brief(plan['to'])}?", yes=yes)
        show(ops.rollback(to, actor, reason), as_json=as_json, table=_done)


def _plan(plan: Row) -> None:
    print_line(f"from {brief(plan['live'])} to {brief(plan['to'])}, undoing {len(plan['undone'])} versions")
    waiting = len(plan["waiting"])
    print_line(
        f"to quarantine: {len(plan['trained'])} samples learned since, {waiting} that wait and came from their replies"
    )


def _done(result: Row) -> None:
    print_line(f"{brief(result['live'])} is live: the pointer moved in {result['pointer_ms']:.1f} ms")
    _frozen(result)


def _undone(result: Row) -> None:
    print_line(f"{brief(result['live'])} is live again: the pointer moved in {result['pointer_ms']:.1f} ms")
    _frozen(result)


def _frozen(result: Row) -> None:
    moved = f"{result['samples']} samples went to quarantine, {result['returned']} are back where they were"
    print_line(f"{moved}; learning is frozen until `tayguard thaw`")


def trace(
    *,
    request: Annotated[str | None, typer.Option(help="Request id (X-Tayguard-Request-Id).")] = None,
    served_by: Annotated[str | None, typer.Option("--served-by", help="A version.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is behind a reply, or the exchanges that a version answered."""
    if (request is None) == (served_by is None):
        raise CommandError("give --request ID, or --served-by VERSION", 2)
    found: Any
    with operations() as ops:
        if request is not None:
            found = ops.trace_request(request)
            show(found, as_json=as_json, table=_behind)
            return
        found = ops.served_by(served_by or "")
    columns = {
        "request": lambda row: row["request_id"], "time (UTC)": lambda row: at(row["finished_ms"]),
        "conversation": lambda row: row["conversation"][:8], "author": lambda row: row["author"][:8],
        "prompt": lambda row: short(row["prompt"]), "reply": lambda row: short(row["reply"]),
    }  # fmt: skip
    show(found, as_json=as_json, table=lambda rows: print_table(rows, columns, empty="it answered nothing"))


def _behind(found: Row) -> None:
    exchange = found["exchange"]
    names = ("request_id", "version", "author", "conversation", "prompt", "reply", "finish")
    print_fields({name: exchange[name] for name in names})
    columns = {
        "row": lambda row: row["id"], "weight": lambda row: f"{row['weight']:.3f}",
        "author": lambda row: row["line"]["author"][:8] if row["line"] else "",
        "text": lambda row: short(row["sample"]["reply"]) if row["sample"] else "",
    }  # fmt: skip
    print_table(found["evidence"], columns, empty="no row is behind it")
