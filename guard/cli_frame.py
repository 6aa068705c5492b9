"""What every command shares: settings, the store for as long as it takes, one line per error, tables or JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from guard.operations import Operations
    from guard.settings import Settings

Row = Mapping[str, Any]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Config = Annotated[Path | None, typer.Option("--config", help="Settings file; tayguard.toml where there is one.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def default_actor() -> str:
    """Return the name of the user who runs the command."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


Actor = Annotated[
    str, typer.Option("--actor", help="Who does it; it is recorded.", default_factory=default_actor, show_default="you")
]


class CommandError(Exception):
    """A command cannot do what it was asked; one line, and the exit status: 2 for bad input, 1 for a failure."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def load_settings(config: Path | None = None) -> Settings:
    """Return the settings of a command."""
    from guard.settings import load

    return load(config or _chosen.get("config"))


_chosen: dict[str, Path] = {}


def choose_config(config: Path | None) -> None:
    """Remember the settings file that was named before the command."""
    if config is not None:
        _chosen["config"] = config


@contextlib.contextmanager
def operations() -> Iterator[Operations]:
    """Give the operations over the running server's Redis, or one of our own for as long as it takes."""
    from guard.connect import opened
    from guard.operations import Operations
    from guard.wiring import Wiring

    settings = load_settings()
    with opened(settings) as url:
        wiring = Wiring(settings, url)
        try:
            yield Operations(wiring)
        finally:
            wiring.close()


def print_json(value: object) -> None:
    """Print a value as JSON on stdout; a lone surrogate is escaped."""
    sys.stdout.write(json.dumps(value, ensure_ascii=True, indent=2, default=str) + "\n")


def show(value: Any, *, as_json: bool, table: Callable[[Any], None]) -> None:  # noqa: ANN401 - JSON
    """Print a result as JSON, or by ``table``."""
    if as_json:
        print_json(value)
    else:
        table(value)


def print_table(rows: Sequence[Row], columns: Mapping[str, Callable[[Row], object]], *, empty: str) -> None:
    """Print rows as a table; cells are plain text, whatever a stranger wrote into them."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        print_line(empty)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(str(cell(row)))) for cell in columns.values()))
    Console(width=None if sys.stdout.isatty() else 240).print(table)


def print_fields(fields: Mapping[str, object]) -> None:
    """Print names and values, one a line."""
    width = max((len(name) for name in fields), default=0)
    for name, value in fields.items():
        print_line(f"{name:<{width}}  {value}")


def print_line(text: str) -> None:
    """Print one line of plain text."""
    sys.stdout.write(printable(text) + "\n")


def printable(text: str) -> str:
    r"""Return a text without anything that a terminal obeys.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)


def short(text: str, limit: int = 60) -> str:
    """Return the beginning of a text.

    >>> short("abcdef", 4)
    'abc…'
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"


def at(ms: int | None) -> str:
    """Return a time for people.

    >>> at(0)
    '1970-01-01 00:00:00'
    """
    return "" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless told not to or nobody can answer."""
    if yes or not sys.stdin.isatty():
        return
    if not typer.confirm(question, err=True):
        raise CommandError("nothing was changed")


def read_text(path: Path) -> str:
    """Return a file's text; ``-`` is standard input."""
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise CommandError(f"{path} cannot be read: {why}", 2) from exc


def status_of(error: Exception) -> int | None:
    """Return the exit status of one of our errors, None for any other."""
    from filters.errors import FilterError, PolicyError
    from guard.errors import GuardError
    from guard.settings import ConfigurationError
    from guard.supervisor import StartError
    from learner.errors import LearnerError, UnknownIdError

    if isinstance(error, CommandError):
        return error.status
    if isinstance(error, StartError):
        return error.fault
    if isinstance(error, ConfigurationError | PolicyError | UnknownIdError):
        return 2
    return 1 if isinstance(error, LearnerError | FilterError | GuardError) else None


def run(app: typer.Typer, arguments: Sequence[str] | None = None) -> int:
    """Run the command line; every error of ours is one line on stderr."""
    from typer.exceptions import Abort, TyperException
    from typer.main import get_command

    try:
        given = list(arguments) if arguments is not None else None
        status = get_command(app).main(args=given, prog_name="tayguard", standalone_mode=False)
    except TyperException as exc:
        return _misused(exc)
    except (KeyboardInterrupt, Abort):
        return _fail("stopped", 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as exc:  # the edge: every error is one line
        known = status_of(exc)
        if known is None:
            raise
        return _fail(str(exc), known)
    return status if isinstance(status, int) else 0


def _misused(error: Exception) -> int:
    """Say in one line what is wrong with the arguments, and where help is."""
    context = getattr(error, "ctx", None)
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(message + "\n")
        return 2
    where = context.command_path if context is not None else "tayguard"
    return _fail(f"{message.rstrip('.')}; `{where} --help` says more", int(getattr(error, "exit_code", 2)))


def _fail(message: str, status: int) -> int:
    sys.stderr.write(printable(" ".join(message.split())) + "\n")
    return status
