"""``tayguard policy``: validate, compare, apply, take back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guard.cli_frame import (
    Actor,
    AsJson,
    Reason,
    Row,
    operations,
    print_fields,
    print_json,
    print_line,
    read_text,
    show,
)

app = typer.Typer(
    help="The thresholds: validate, compare, apply, take back.", no_args_is_help=True, rich_markup_mode=None
)
File = Annotated[Path, typer.Argument(help="A policy file (TOML); - is standard input.", metavar="FILE")]


@app.command()
def check(file: File, *, as_json: AsJson = False) -> None:
    """Validate a policy file."""
    from filters.policy import Policy

    policy = Policy.from_toml(read_text(file))
    if as_json:
        print_json({"policy": policy.id})
    else:
        print_line(f"valid: {policy.id}")


@app.command("show")
def show_live(*, as_json: AsJson = False) -> None:
    """Show which policy is live."""
    with operations() as ops:
        found = ops.policy()
    show(found, as_json=as_json, table=print_fields)


@app.command()
def diff(file: File, *, as_json: AsJson = False) -> None:
    """Show which stored verdicts a policy would change."""
    text = read_text(file)
    with operations() as ops:
        found = ops.policy_diff(text)
    show(found, as_json=as_json, table=_changed)


def _changed(found: Row) -> None:
    print_line(f"live {found['live'][:12]}, this file {found['policy'][:12]}{' (the same)' if found['same'] else ''}")
    for row in found["changed"]:
        print_line(f"{row['id']}  {row['state']}  {row['before']} -> {row['after']}")
    print_line(f"{len(found['changed'])} learn verdicts would change")


@app.command()
def apply(file: File, *, reason: Reason = "", actor: Actor, as_json: AsJson = False) -> None:
    """Make a policy file the live policy."""
    text = read_text(file)
    with operations() as ops:
        found = ops.policy_apply(text, actor, reason)
    show(found, as_json=as_json, table=_applied)


@app.command()
def rollback(*, reason: Reason = "", actor: Actor, as_json: AsJson = False) -> None:
    """Make the policy before this one live again."""
    with operations() as ops:
        found = ops.policy_rollback(actor, reason)
    show(found, as_json=as_json, table=_applied)


def _applied(found: Row) -> None:
    print_line(f"policy {found['policy'][:12]} {'is live' if found['changed'] else 'was live already'}")
