"""Hold-back: text leaves only as far as it has been judged, unit by unit, streamed or not.

Every choice has its own fold. Tool calls and a refusal are held until the choice is complete and judged as one text.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from filters.guardian import Fold, Judged
from filters.policy import Message, barred
from filters.ranges import with_replaced
from filters.types import Item, Scores, Verdict
from filters.units import Unit
from guard.dialects.types import Delta, Event, Finish, Finished, Piece, tool_text
from guard.errors import TooLargeError
from guard.judging import Judge, Judgement, units_of
from guard.scoring import NotScoredError, absent, merged
from guard.turns import ScoredText


@dataclass(frozen=True, slots=True)
class _Tool:
    """One tool call as it arrives. Its id and number are ours: an upstream's could spell what nobody has judged."""

    id: str = field(default_factory=lambda: f"call_{secrets.token_hex(12)}")
    name: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    def row(self, index: int) -> dict[str, Any]:
        function = {"name": "".join(self.name), "arguments": "".join(self.arguments)}
        return {"index": index, "id": self.id, "type": "function", "function": function}


class HeldChoice:
    """One choice of a reply: pieces in, what may leave out. ``item`` says what is known besides the text."""

    def __init__(self, judge: Judge, item: Item, choice: int, language: str) -> None:
        self._judge, self._item, self._choice, self._language = judge, item, choice, language
        self._fold: Fold = judge.guardian.fold(item, judge.policy)
        self._failure: Scores | None = None
        self._held: list[Scores] = []
        self._tools: dict[int, _Tool] = {}
        self._refusal: list[str] = []
        self._texts: list[str] = []
        self._units = 0
        self._unread = 0
        self._chars_out = 0  # of what the upstream said; what was replaced counts as it was
        self._barred = ""
        self.finish: Finished | None = None

    @property
    def heard(self) -> str:
        """All that the upstream has said so far, what may not leave included."""
        return "\n".join(filter(None, ("".join(self._texts), self._aside())))

    @property
    def judgement(self) -> Judgement:
        """The judgement of what was heard so far."""
        scores = merged([tuple(self._fold.scores.values()), self._held, [self._failure] if self._failure else []])
        verdict = self._judge.policy.decide(scores, "out")
        return Judgement(barred(verdict, self._barred) if self._barred else verdict, scores)

    async def take(self, piece: Piece) -> list[Event]:
        """Return what may leave now that ``piece`` is here; after the first bad unit nothing does."""
        if self.finish is not None:
            return []
        self._texts.append(piece.text)
        self._refusal.append(piece.refusal)
        self._unread += piece.unread
        for fragment in piece.tools:
            self._add_tool(fragment)
        events = await self._passed(piece)
        if piece.finish is None or self.finish is not None:
            return events
        return [*events, *await self._end(piece.finish)]

    async def _passed(self, piece: Piece) -> list[Event]:
        """Return the text that may leave; in shadow mode all of it does at once, and is judged when it is complete."""
        closing = piece.finish is not None
        if not self._judge.policy.shadow:
            return await self._fed(piece.text, closing=closing) if piece.text or closing else []
        if closing:
            await self._fed("".join(self._texts), closing=True)
        return self._out(piece.text)

    async def _fed(self, text: str, *, closing: bool) -> list[Event]:
        if self._failure is not None:
            return self._out(text)
        events: list[Event] = []
        try:
            async for unit in units_of(self._fold, text, closing=closing):
                judged = await self._judged(unit)
                if not self._judge.policy.lets_through(judged.verdict, "out"):
                    return [*events, self._cut(judged.verdict)]
                events += self._out(unit.text, self._served(judged))
        except NotScoredError as exc:
            self._failure = absent(exc, "out")
        else:
            return events
        if not self._judge.policy.lets_through(self.judgement.verdict, "out"):
            return [*events, self._cut(self.judgement.verdict)]
        # Fail open: all that was held back is let through, unscored, by policy.
        return [*events, *self._out("".join(self._texts)[self._chars_out :])]

    async def _judged(self, unit: Unit) -> Judged:
        self._units += 1
        limit = self._judge.scoring.limits.max_units
        if self._units > limit:
            raise NotScoredError("too_long", f"only the first {limit} sentences were scored")
        (judged,) = await self._judge.judged(self._fold, [unit])
        return judged

    def _served(self, judged: Judged) -> str:
        """Return a unit as it is served, what the policy wants replaced replaced."""
        ranges = self._judge.policy.replaced(judged.scores, len(judged.unit.text), "out")
        return with_replaced(judged.unit.text, ranges, self._judge.policy.message("replaced", self._language))

    def _out(self, text: str, served: str | None = None) -> list[Event]:
        self._chars_out += len(text)
        said = text if served is None else served
        return [Delta(self._choice, said)] if said else []

    async def _end(self, finish: Finished) -> list[Event]:
        aside = self._aside()
        if aside or self._unread:
            try:
                found = await self._judge.prompt([ScoredText(aside, (), self._unread)], self._item)
                self._held = list(found.scores)
                self._barred = "words in a tool call or a refusal cannot be replaced" if any(found.replaced) else ""
            except TooLargeError as exc:
                self._held = [absent(NotScoredError("too_long", str(exc)), "out")]
            if not self._judge.policy.lets_through(self.judgement.verdict, "out"):
                return [self._cut(self.judgement.verdict)]
        self.finish = finish
        tools = tuple(call.row(index) for index, call in enumerate(self._calls()))
        refusal = "".join(self._refusal)
        held: list[Event] = [Delta(self._choice, refusal=refusal, tools=tools)] if tools or refusal else []
        return [*held, Finish(self._choice, finish)]

    def _aside(self) -> str:
        calls = [call.row(index) for index, call in enumerate(self._calls())]
        return "\n".join(filter(None, ("".join(self._refusal), tool_text(calls))))

    def _calls(self) -> list[_Tool]:
        return [self._tools[index] for index in sorted(self._tools)]

    def _cut(self, verdict: Verdict) -> Event:
        self.finish = "content_filter"
        kind: Message = "unscored" if verdict.serve == "unscored" else "blocked"
        return Finish(self._choice, "content_filter", self._judge.policy.message(kind, self._language))

    def _add_tool(self, fragment: Mapping[str, Any]) -> None:
        call = self._tools.setdefault(int(fragment.get("index") or 0), _Tool())
        function = fragment.get("function") or {}
        call.name.append(str(function.get("name") or ""))
        call.arguments.append(str(function.get("arguments") or ""))
