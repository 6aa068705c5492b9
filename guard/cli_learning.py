"""``tayguard learn``, ``freeze``, ``thaw``, ``stop`` and ``start``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, cast

import typer

from guard.cli_frame import Actor, AsJson, CommandError, Reason, Row, operations, print_line, show

_SWITCHES = {
    "freeze": ("Stop learning until `thaw`.", "learning is frozen"),
    "thaw": ("Let learning go on.", "learning goes on"),
    "stop": (
        "Emergency: every request gets a fixed reply, nothing reaches the bot.",
        "stopped: every request gets the fixed reply",
    ),
    "start": ("Answer again, if the live version passes the gate.", "answering again"),
}


def learn(
    *, once: Annotated[bool, typer.Option("--once", help="One update, now.")] = False, as_json: AsJson = False
) -> None:
    """Make one update now, from what is admitted or due; the server's learner does it by itself otherwise."""
    if not once:
        raise CommandError("give --once for one update now; `tayguard serve` runs the learner as a service", 2)
    with operations() as ops:
        outcome = ops.learn_once()
    show(outcome, as_json=as_json, table=_outcome)
    if outcome["kind"] in ("rejected", "busy"):
        raise typer.Exit(1)


def _outcome(outcome: Row) -> None:
    print_line(str(outcome["text"]))


def switch_command(name: str) -> Callable[..., None]:
    """Return the command for a switch."""
    what = cast("Literal['freeze', 'thaw', 'stop', 'start']", name)
    text, done = _SWITCHES[name]

    def command(*, reason: Reason = "", actor: Actor, as_json: AsJson = False) -> None:
        with operations() as ops:
            found = ops.switch(what, actor, reason)
        show(found, as_json=as_json, table=lambda _row: print_line(done))

    command.__doc__ = text
    return command
