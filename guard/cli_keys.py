"""``tayguard keys``: who may use the guard."""

from __future__ import annotations

from typing import Annotated

import typer

from guard.cli_frame import Actor, AsJson, CommandError, at, operations, print_json, print_line, print_table, show

app = typer.Typer(help="Keys and their roles.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def create(
    role: Annotated[
        list[str], typer.Option(help="client, integrator, reviewer, operator or auditor; may be repeated.")
    ],
    *,
    asserts_author: Annotated[
        bool, typer.Option("--asserts-author", help="Its word on who wrote a text counts.")
    ] = False,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    actor: Actor,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it once."""
    with operations() as ops:
        try:
            found = ops.key_create(role, asserts_author=asserts_author, note=note, actor=actor)
        except ValueError as exc:
            raise CommandError(str(exc), 2) from exc
    if as_json:
        print_json(found)
    else:
        print_line(found["key"])


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """List the keys; never their secrets."""
    with operations() as ops:
        rows = ops.key_list()
    columns = {
        "key": lambda row: row["id"],
        "roles": lambda row: ", ".join(row["roles"]),
        "asserts author": lambda row: "yes" if row["asserts_author"] else "no",
        "created (UTC)": lambda row: at(row["created_ms"]),
        "revoked (UTC)": lambda row: at(row["revoked_ms"] or None),
        "note": lambda row: row["note"],
    }
    show(rows, as_json=as_json, table=lambda found: print_table(found, columns, empty="no key was created"))


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Id of the key.", metavar="ID")], *, actor: Actor, as_json: AsJson = False
) -> None:
    """Revoke a key."""
    with operations() as ops:
        found = ops.key_revoke(key, actor)
    show(found, as_json=as_json, table=lambda row: print_line(f"{row['revoked']} is revoked"))
