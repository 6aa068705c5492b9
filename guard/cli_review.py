"""``tayguard review``: look at what waits, and decide."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from guard.cli_frame import (
    Actor,
    AsJson,
    CommandError,
    Reason,
    Row,
    at,
    operations,
    print_fields,
    print_json,
    print_line,
    print_table,
    short,
    show,
)  # fmt: skip

app = typer.Typer(help="Look through the quarantine and decide.", no_args_is_help=True, rich_markup_mode=None)
Ids = Annotated[list[str], typer.Argument(help="Ids of samples.", metavar="ID...")]
_ORDERS: dict[str, Literal["risk", "uncertainty", "age"]] = {"risk": "risk", "uncertainty": "uncertainty", "age": "age"}


@app.command("list")
def list_(
    state: Annotated[str, typer.Option(help="State of the samples, or all.")] = "quarantined",
    label: Annotated[str | None, typer.Option(help="Only with a reason of this label.")] = None,
    author: Annotated[str | None, typer.Option(help="Only of this author.")] = None,
    cohort: Annotated[str | None, typer.Option(help="Only of this cohort.")] = None,
    since: Annotated[str | None, typer.Option(help="Only since this time, like 2026-03-23T14:00.")] = None,
    order: Annotated[str, typer.Option(help="risk, uncertainty or age.")] = "risk",
    limit: Annotated[int, typer.Option(min=1, help="Samples to show.")] = 50,
    *,
    as_json: AsJson = False,
) -> None:
    """List samples, the riskiest first."""
    if order not in _ORDERS:
        raise CommandError(f"--order is risk, uncertainty or age, not {order}", 2)
    with operations() as ops:
        rows = ops.samples(
            state=state, label=label, author=author, cohort=cohort, since=since, order=_ORDERS[order], limit=limit
        )
    columns = {
        "id": lambda row: row["id"],
        "risk": lambda row: f"{row['risk']:.2f}",
        "why": why,
        "author": lambda row: row["author"][:8],
        "prompt": lambda row: short(row["prompt"]),
        "reply": lambda row: short(row["reply"]),
    }
    show(rows, as_json=as_json, table=lambda found: print_table(found, columns, empty=f"no sample is {state}"))


def why(row: Row) -> str:
    """Return a row's reasons in short."""
    found = (f"{r['label']} {r['score']:.2f}" if r["score"] is not None else r["label"] for r in row["reasons"])
    return ", ".join(dict.fromkeys(found)) or "-"


@app.command("show")
def show_(
    sample: Annotated[str, typer.Argument(help="Id of the sample.", metavar="ID")], *, as_json: AsJson = False
) -> None:
    """Show one sample with its reasons, its scores and its history."""
    with operations() as ops:
        row = ops.sample(sample)
    show(row, as_json=as_json, table=_page)


def _page(row: Row) -> None:
    names = ("id", "state", "kind", "author", "conversation", "version", "policy", "coverage", "prompt", "reply")
    fields = {name: row[name] for name in names}
    if row["kind"] == "turn" and row["answer"]:
        fields["bot answered"] = row["answer"]
    print_fields(fields | {"captured": at(row["captured_ms"]), **_noted(row["notes"])})
    for reason in row["reasons"]:
        print_line(_reason(reason))
    for event in row["history"]:
        print_line(f"history {at(event['at_ms'])} {event['type']} by {event['actor']} {event['reason']}".rstrip())


def _noted(notes: Row) -> dict[str, str]:
    """Return what a row notes, for people; empty for a settled one."""
    found = {}
    if notes.get("since_ms"):
        found["in this state since"] = at(int(float(notes["since_ms"])))
    if notes.get("reason"):
        found["because of"] = notes["reason"]
    if {"good", "bad"} & set(notes):
        found["feedback"] = f"{notes.get('good', 0)} up, {notes.get('bad', 0)} down"
    if notes.get("appealed"):
        found["appealed"] = "yes"
    return found


def _reason(reason: Row) -> str:
    score = "" if reason["score"] is None else f" {reason['score']:.3f} (threshold {reason['threshold']:.3f})"
    spans = ", ".join(f"{span['start']}-{span['end']}" for span in reason["spans"])
    parts = {"": reason["detail"], "read as ": reason["variant"], "characters ": spans}
    more = "".join(f"; {name}{part}" for name, part in parts.items() if part)
    return f"reason  {reason['purpose']}: {reason['label']}{score}{more}"


def _decide(
    what: Literal["release", "discard", "reopen"], ids: list[str], actor: str, reason: str, *, as_json: bool
) -> None:
    with operations() as ops:
        rows = ops.decide(what, ids, actor, reason)
    _outcomes(rows, as_json=as_json)


def _outcomes(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            print_line(f"{row['id']}  {row['result']}  {row['state'] or ''}  {row['detail']}".rstrip())
    left = [row for row in rows if row["result"] in ("refused", "unknown")]
    if left:
        first = left[0]
        why_not = first["detail"] or f"{first['result']}: `tayguard review list` shows what there is"
        raise CommandError(f"{len(left)} of {len(rows)} did not move; {first['id'][:80]}: {why_not}")


@app.command()
def release(ids: Ids, *, reason: Reason = "", actor: Actor, as_json: AsJson = False) -> None:
    """Admit samples for learning; waives the cool-down, never the author's cap."""
    _decide("release", ids, actor, reason, as_json=as_json)


@app.command()
def discard(ids: Ids, *, reason: Reason = "", actor: Actor, as_json: AsJson = False) -> None:
    """Take samples out."""
    _decide("discard", ids, actor, reason, as_json=as_json)


@app.command()
def reopen(ids: Ids, *, reason: Reason = "", actor: Actor, as_json: AsJson = False) -> None:
    """Bring decided samples back before a reviewer."""
    _decide("reopen", ids, actor, reason, as_json=as_json)


@app.command()
def undo(*, actor: Actor, as_json: AsJson = False) -> None:
    """Revert your last decision."""
    with operations() as ops:
        rows = ops.undo_review(actor)
    if not rows and not as_json:
        print_line("nothing to undo")
    _outcomes(rows, as_json=as_json)
