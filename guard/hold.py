"""Hold-back: text leaves only as far as it has been judged, unit by unit, streamed or not.

Every choice has its own fold. Tool calls and a refusal are held until the choice is complete and judged as one text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from filters.guardian import Fold, Guardian, Judged
from filters.policy import Message, Policy
from filters.types import Item, Scores, Verdict
from guard.dialects.types import Delta, Event, Finish, Finished, Piece, tool_text
from guard.scoring import NotScoredError, Scoring, absent, merged
from guard.turns import ScoredText

PARTS = Scores(filter="parts", version="1", coverage=0.0)
"""Speaks for the parts of a message that are not text: nobody has scored them."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with the scores behind it; ``each`` holds the verdict on every single text."""

    verdict: Verdict
    scores: tuple[Scores, ...]
    each: tuple[Verdict, ...] = ()

    @property
    def broken(self) -> bool:
        """Whether a filter failed, was late or absent: not the same as a text that has parts nobody can read."""
        return any(scores.error for scores in self.scores)


@dataclass(frozen=True, slots=True)
class Judge:
    """A pinned policy and the filters, with the scoring that runs them."""

    guardian: Guardian
    policy: Policy
    scoring: Scoring

    async def prompt(self, texts: Sequence[ScoredText], item: Item) -> Judgement:
        """Return the judgement of a request's texts, all within one deadline."""
        items = [replace(item, text=text.text) for text in texts]
        try:
            found = await self.scoring.run(lambda: [self._whole(one) for one in items])
        except NotScoredError as exc:
            found = [(absent(exc, item.direction),)] * len(texts)
        found = [(*scores, PARTS) if text.unread else scores for text, scores in zip(texts, found, strict=True)]
        scores = merged(found)
        each = tuple(self.policy.decide(one, item.direction) for one in found)
        return Judgement(self.policy.decide(scores, item.direction), scores, each)

    def _whole(self, item: Item) -> tuple[Scores, ...]:
        fold = self.guardian.fold(item, self.policy)
        fold.feed(item.text)
        fold.close()
        return tuple(fold.scores.values())


class HeldChoice:
    """One choice of a reply: pieces in, what may leave out. ``item`` says what is known besides the text."""

    def __init__(self, judge: Judge, item: Item, choice: int, language: str) -> None:
        self._judge, self._item, self._choice, self._language = judge, item, choice, language
        self._fold: Fold = judge.guardian.fold(item, judge.policy)
        self._failure: Scores | None = None
        self._held: list[Scores] = []
        self._tools: dict[int, dict[str, Any]] = {}
        self._refusal: list[str] = []
        self._text = ""
        self._chars_out = 0
        self.finish: Finished | None = None

    @property
    def heard(self) -> str:
        """All that the upstream has said so far, what may not leave included."""
        return "\n".join(filter(None, (self._text, self._aside())))

    @property
    def judgement(self) -> Judgement:
        """The judgement of what was heard so far."""
        scores = merged([tuple(self._fold.scores.values()), self._held, [self._failure] if self._failure else []])
        return Judgement(self._judge.policy.decide(scores, "out"), scores)

    async def take(self, piece: Piece) -> list[Event]:
        """Return what may leave now that ``piece`` is here; after the first bad unit nothing does."""
        if self.finish is not None:
            return []
        self._text += piece.text
        self._refusal.append(piece.refusal)
        for fragment in piece.tools:
            self._add_tool(fragment)
        events = await self._fed(piece.text, closing=piece.finish is not None) if piece.text or piece.finish else []
        if piece.finish is None or self.finish is not None:
            return events
        return [*events, *await self._end(piece.finish)]

    async def _fed(self, text: str, *, closing: bool) -> list[Event]:
        if self._failure is None:
            try:
                judged = await self._judge.scoring.run(lambda: self._work(text, closing=closing))
            except NotScoredError as exc:
                self._failure = absent(exc, "out")
            else:
                return self._release(judged)
        if not self._judge.policy.lets_through(self.judgement.verdict, "out"):
            return [self._cut(self.judgement.verdict)]
        return self._out(self._text)  # fail open: unscored and let through, by policy

    def _work(self, text: str, *, closing: bool) -> list[Judged]:
        judged = self._fold.feed(text) if text else []
        return [*judged, *self._fold.close()] if closing else judged

    def _release(self, judged: Sequence[Judged]) -> list[Event]:
        events: list[Event] = []
        for one in judged:
            if not self._judge.policy.lets_through(one.verdict, "out"):
                return [*events, self._cut(one.verdict)]
            events += self._out(self._text[: one.unit.end])
        return events

    def _out(self, so_far: str) -> list[Event]:
        text, self._chars_out = so_far[self._chars_out :], max(self._chars_out, len(so_far))
        return [Delta(self._choice, text)] if text else []

    async def _end(self, finish: Finished) -> list[Event]:
        aside = self._aside()
        if aside:
            judgement = await self._judge.prompt([ScoredText(aside, ())], self._item)
            self._held = list(judgement.scores)
            if not self._judge.policy.lets_through(self.judgement.verdict, "out"):
                return [self._cut(self.judgement.verdict)]
        self.finish = finish
        tools = tuple(self._tools[index] for index in sorted(self._tools))
        refusal = "".join(self._refusal)
        held: list[Event] = [Delta(self._choice, refusal=refusal, tools=tools)] if tools or refusal else []
        return [*held, Finish(self._choice, finish)]

    def _aside(self) -> str:
        calls = [self._tools[index] for index in sorted(self._tools)]
        return "\n".join(filter(None, ("".join(self._refusal), tool_text(calls))))

    def _cut(self, verdict: Verdict) -> Event:
        self.finish = "content_filter"
        kind: Message = "unscored" if verdict.serve == "unscored" else "blocked"
        return Finish(self._choice, "content_filter", self._judge.policy.message(kind, self._language))

    def _add_tool(self, fragment: Mapping[str, Any]) -> None:
        index = int(fragment.get("index") or 0)
        call = self._tools.setdefault(
            index, {"index": index, "id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        call["id"] = call["id"] or str(fragment.get("id") or "")
        function = fragment.get("function") or {}
        for name in ("name", "arguments"):
            call["function"][name] += str(function.get(name) or "")
