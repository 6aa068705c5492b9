"""What every dialect is parsed into and rendered from: a chat, the events of its answer, and the whole answer.

An answer is a stream of events whichever way the client wants it: :class:`Opened`, then :class:`Delta` and
:class:`Finish` per choice, perhaps :class:`Usage`, and :class:`Closed` at the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from filters.types import ServeVerdict
from guard.auth import Identity

ChatRole = Literal["system", "developer", "user", "assistant", "tool"]
TRUSTED_ROLES: tuple[ChatRole, ...] = ("system", "developer")
Captured = Literal["yes", "no", "unknown"]
MODEL_NAME = re.compile(r"[A-Za-z0-9_./:@+-]{1,200}")
"""What names a model may have: they are in headers and logs, and no person's sentence fits."""

Finished = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a request.

    ``extra`` is its other text that reaches the bot: names, arguments of tool calls, a refusal. ``unread`` counts the
    parts that are not text. ``raw`` is what an upstream of the same dialect gets.
    """

    role: ChatRole
    text: str
    extra: str = ""
    unread: int = 0
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scored_text(self) -> str:
        """Everything in it that can be scored.

        >>> Message("assistant", "", extra="lookup {}").scored_text
        'lookup {}'
        """
        return "\n".join(part for part in (self.text, self.extra) if part)


@dataclass(frozen=True, slots=True)
class Chat:
    """One request. ``options`` are the parameters that an upstream of the same dialect gets as they are.

    ``instructions`` is the text in them (tools, response formats); it is trusted as system prompts are.
    """

    identity: Identity
    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    n: int = 1
    seed: int = 0
    include_usage: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    instructions: str = ""
    author: str = ""
    conversation: str = ""
    idempotency_key: str = ""
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Piece:
    """What an upstream sends next for one choice; ``finish`` ends that choice.

    ``tools`` and ``refusal`` come in fragments as well; a tool fragment has ``index`` and OpenAI's fields. ``unread``
    counts parts that are not text.
    """

    choice: int = 0
    text: str = ""
    refusal: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()
    finish: Finished | None = None
    usage: Mapping[str, Any] | None = None
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """What is known when the answer begins: the verdict is the prompt's."""

    request_id: str
    model: str
    created_s: int
    version: str
    verdict: ServeVerdict
    coverage: float


@dataclass(frozen=True, slots=True)
class Opened:
    """The answer begins."""

    head: Head


@dataclass(frozen=True, slots=True)
class Delta:
    """Text of one choice that may leave; whole tool calls and a whole refusal, once judged."""

    choice: int
    text: str = ""
    refusal: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Finish:
    """A choice has ended. ``message`` stands in for the reply where it was blocked: whole, in an unstreamed answer."""

    choice: int
    reason: Finished
    message: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the upstream counted them."""

    counts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Closed:
    """The whole answer: the worse verdict of prompt and reply, the smaller coverage, and whether it was captured."""

    verdict: ServeVerdict
    coverage: float
    captured: Captured


Event = Opened | Delta | Finish | Usage | Closed


@dataclass(slots=True)
class Choice:
    """One choice of a whole answer."""

    text: str = ""
    refusal: str = ""
    tools: list[Mapping[str, Any]] = field(default_factory=list)
    finish: Finished = "stop"


@dataclass(slots=True)
class Answer:
    """A whole answer, gathered from its events as the client sees them; a retry is answered from it again."""

    head: Head
    streamed: bool = False
    choices: dict[int, Choice] = field(default_factory=dict)
    usage: Mapping[str, Any] | None = None
    closed: Closed = field(default_factory=lambda: Closed("unscored", 0.0, "no"))

    def add(self, event: Event) -> None:
        """Take in the next event."""
        if isinstance(event, Delta):
            choice = self.choices.setdefault(event.choice, Choice())
            choice.text += event.text
            choice.refusal += event.refusal
            choice.tools.extend(event.tools)
        elif isinstance(event, Finish):
            choice = self.choices.setdefault(event.choice, Choice())
            choice.finish = event.reason
            if event.message and not (self.streamed and (choice.text or choice.tools)):
                self.choices[event.choice] = Choice(text=event.message, finish=event.reason)
        elif isinstance(event, Usage):
            self.usage = event.counts
        elif isinstance(event, Closed):
            self.closed = event

    def events(self) -> list[Event]:
        """Return the events that would make this answer again."""
        events: list[Event] = [Opened(self.head)]
        for index, choice in sorted(self.choices.items()):
            if choice.text or choice.refusal or choice.tools:
                events.append(Delta(index, choice.text, choice.refusal, tuple(choice.tools)))
            events.append(Finish(index, choice.finish))
        if self.usage:
            events.append(Usage(self.usage))
        events.append(self.closed)
        return events


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """Return an answer as JSON."""
    return asdict(answer)


def answer_from_json(row: Mapping[str, Any]) -> Answer:
    """Return the answer that :func:`answer_to_json` wrote, choice numbers being strings in JSON."""
    choices = {int(index): Choice(**choice) for index, choice in row["choices"].items()}
    return Answer(Head(**row["head"]), row["streamed"], choices, row["usage"], Closed(**row["closed"]))


def tool_text(calls: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of tool calls: names and arguments, one call a line.

    >>> tool_text([{"function": {"name": "look", "arguments": "{}"}}])
    'look {}'
    """
    lines = []
    for call in calls:
        function = call.get("function") or call.get("custom") or {}
        arguments = function.get("arguments") or function.get("input") or ""
        lines.append(f"{function.get('name') or ''} {arguments}".strip())
    return "\n".join(lines)
