"""The command line; each group of commands has its own file, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from guard import cli_frame, cli_keys, cli_learning, cli_policy, cli_review, cli_score, cli_versions
from guard.cli_frame import AsJson, CommandError, Config, operations, print_fields, print_json, print_table

app = typer.Typer(
    help="A guard for chatbots that learn from the people they talk to.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root(config: Config = None) -> None:
    cli_frame.choose_config(config)


@app.command()
def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to bind.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to bind; 0 picks one.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Worker processes.")] = None,
) -> None:
    """Serve proxy, console and learner; ready line on stdout, JSON logs on stderr."""
    from guard import supervisor

    settings = cli_frame.load_settings(config)
    changes = {"host": host, "port": port, "workers": workers}
    given = {name: value for name, value in changes.items() if value is not None}
    server = settings.server.model_copy(update=given)
    supervisor.serve(settings.model_copy(update={"server": server}))


app.command("score")(cli_score.score)
app.add_typer(cli_review.app, name="review")
app.add_typer(cli_versions.app, name="versions")
app.command("learn")(cli_learning.learn)
app.command("rollback")(cli_versions.rollback)
for _name in ("freeze", "thaw", "stop", "start"):
    app.command(_name)(cli_learning.switch_command(_name))
app.command("trace")(cli_versions.trace)
app.add_typer(cli_policy.app, name="policy")
app.add_typer(cli_keys.app, name="keys")


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """Show what is live, whether learning is frozen, and how many samples wait."""
    with operations() as ops:
        found = ops.status()
    if as_json:
        print_json(found)
    else:
        print_fields({"bot": found["bot"], **found["pointer"], **found["samples"]})


@app.command()
def export(
    what: Annotated[str, typer.Option(help="samples, or exchanges.")] = "samples",
    state: Annotated[str, typer.Option(help="State of the samples.")] = "admitted",
    form: Annotated[str, typer.Option("--format", help="jsonl.")] = "jsonl",
    *,
    as_json: AsJson = False,
) -> None:
    """Print the buffer with its lineage, or every exchange, as JSON Lines (with --json one list)."""
    if form != "jsonl":
        raise CommandError(f"--format {form} is not there yet: use jsonl", 2)
    kinds: dict[str, Literal["samples", "exchanges"]] = {"samples": "samples", "exchanges": "exchanges"}
    if what not in kinds:
        raise CommandError(f"--what is samples or exchanges, not {what}", 2)
    with operations() as ops:
        rows = ops.export(kinds[what], state)
        if as_json:
            print_json(list(rows))
        else:
            cli_score.write_lines(rows, sys.stdout)


@app.command()
def audit(
    verify: Annotated[bool, typer.Option("--verify", help="Check the chain of the sealed log.")] = False,  # noqa: FBT002
    head: Annotated[str, typer.Option(help="A head that --verify printed earlier; it must still be there.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Events to show.")] = 50,
    *,
    as_json: AsJson = False,
) -> None:
    """Show the trail, or verify that its chain is unbroken."""
    with operations() as ops:
        if not (verify or head):
            rows = ops.audit(limit)
            cli_frame.show(rows, as_json=as_json, table=_events)
            return
        found = ops.audit_verify(head)
    if as_json:
        print_json(found)
    elif found["whole"]:
        cli_frame.print_line(f"unbroken: {found['entries']} entries, head {found['head']}")
    if not found["whole"]:
        raise CommandError(f"the chain is broken: {found['problem']}")


def _events(rows: list[cli_frame.Row]) -> None:
    columns = {
        "time (UTC)": lambda row: cli_frame.at(row["at_ms"]),
        "event": lambda row: row["type"],
        "actor": lambda row: row["actor"],
        "reason": lambda row: row["reason"],
    }
    print_table(rows, columns, empty="nothing happened yet")


@app.command()
def doctor(
    *, config: Annotated[Path | None, typer.Option(help="Settings file.")] = None, as_json: AsJson = False
) -> None:
    """Say what is installed, loaded, reachable and slow; every finding with its remedy."""
    from guard import doctor as checks

    cli_frame.choose_config(config)
    findings = checks.examine(cli_frame.load_settings())
    columns = {"": lambda row: row["state"], "what": lambda row: row["what"], "found": lambda row: row["found"],
               "remedy": lambda row: row["remedy"]}  # fmt: skip
    cli_frame.show(findings, as_json=as_json, table=lambda rows: print_table(rows, columns, empty=""))
    if any(row["state"] == "bad" for row in findings):
        raise typer.Exit(1)


def main() -> int:
    """Run ``tayguard``; returns the exit status."""
    return cli_frame.run(app)


if __name__ == "__main__":
    sys.exit(main())
