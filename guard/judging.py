"""Judgement of texts: their units through the filters by one pinned policy, a chain of units a scoring job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from filters.guardian import Fold, Guardian, Judged
from filters.policy import Policy
from filters.ranges import Range
from filters.types import Direction, Item, Scores, Verdict
from filters.units import Unit, chains
from guard.cache import Known, ScoreCache
from guard.errors import TooLargeError
from guard.scoring import NotScoredError, Scoring, absent, merged
from guard.turns import ScoredText

PARTS = Scores(filter="parts", version="1", coverage=0.0)
"""Speaks for the parts of a message that are not text: nobody has scored them."""

SLICE_CHARS = 2000
"""Read into units at once: about 2 ms."""


async def units_of(fold: Fold, text: str, *, closing: bool = True) -> AsyncGenerator[Unit]:
    """Yield the units that a text closes; a long one is read in slices, so that the event loop goes on."""
    for start in range(0, len(text), SLICE_CHARS):
        if start:
            await asyncio.sleep(0)
        for unit in fold.split(text[start : start + SLICE_CHARS]):
            yield unit
    for unit in fold.rest() if closing else ():
        yield unit


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with the scores behind it; ``each`` holds the verdict on every single text.

    ``replaced`` holds what the policy wants replaced of every single text.
    """

    verdict: Verdict
    scores: tuple[Scores, ...]
    each: tuple[Verdict, ...] = ()
    replaced: tuple[tuple[Range, ...], ...] = ()

    @property
    def broken(self) -> bool:
        """Whether a filter failed, was late or absent: not the same as a text that has parts nobody can read."""
        return any(scores.error for scores in self.scores)


@dataclass(frozen=True, slots=True)
class Divided:
    """Texts that are judged together, split into units that nobody has scored yet."""

    item: Item
    texts: tuple[ScoredText, ...]
    folds: tuple[Fold, ...]
    units: tuple[tuple[Unit, ...], ...]


@dataclass(frozen=True, slots=True)
class Judge:
    """A pinned policy and the filters, with the scoring that runs them, and the scores known from before."""

    guardian: Guardian
    policy: Policy
    scoring: Scoring
    cache: ScoreCache | None = None

    async def prompt(self, texts: Sequence[ScoredText], item: Item) -> Judgement:
        """Return the judgement of a request's texts; what comes after a unit that was not scored is unscored.

        Raises
        ------
        TooLargeError
            The texts are more units than a request may have; none was scored.
        """
        (divided,) = await self.divide([(texts, item)])
        return await self.whole(divided)

    def unread(self, error: NotScoredError, texts: Sequence[ScoredText], direction: Direction) -> Judgement:
        """Return the judgement of texts that nobody scored."""
        scores = (absent(error, direction),)
        verdict = self.policy.decide(scores, direction)
        return Judgement(verdict, scores, (verdict,) * len(texts), ((),) * len(texts))

    async def divide(self, groups: Sequence[tuple[Sequence[ScoredText], Item]]) -> list[Divided]:
        """Return all texts of a request, each group split into units.

        Raises
        ------
        TooLargeError
            They are more units than a request may have.
        """
        limit, count, found = self.scoring.limits.max_units, 0, []
        for texts, item in groups:
            folds = tuple(self.guardian.fold(item, self.policy) for _ in texts)
            units = [
                tuple([unit async for unit in units_of(fold, text.text)])
                for fold, text in zip(folds, texts, strict=True)
            ]
            found.append(Divided(item, tuple(texts), folds, tuple(units)))
            count += sum(map(len, units))
        if count > limit:
            raise TooLargeError(f"the new texts have {count} sentences, at most {limit} are scored; send less at once")
        return found

    async def whole(self, divided: Divided) -> Judgement:
        """Return the judgement of texts; what comes after a unit that was not scored is unscored."""
        direction = divided.item.direction
        failure: Scores | None = None
        found, replaced = [], []
        for text, fold, units in zip(divided.texts, divided.folds, divided.units, strict=True):
            ranges: list[Range] = []
            failure = failure or await self._failed(fold, units, direction, ranges)
            replaced.append(tuple(ranges))
            unscored = [one for one in (failure, PARTS if text.unread else None) if one is not None]
            found.append((*fold.scores.values(), *unscored))
        scores = merged(found)
        verdicts = tuple(self.policy.decide(one, direction) for one in found)
        return Judgement(self.policy.decide(scores, direction), scores, verdicts, tuple(replaced))

    async def _failed(
        self, fold: Fold, units: Sequence[Unit], direction: Direction, replaced: list[Range]
    ) -> Scores | None:
        """Judge units, and note what is to be replaced of them; return why not all were scored."""
        try:
            async for judged in self._each(fold, units):
                replaced += self.replaced(judged, direction)
        except NotScoredError as exc:
            return absent(exc, direction)
        return None

    def replaced(self, judged: Judged, direction: Direction) -> list[Range]:
        """Return what is to be replaced of a unit, as characters of its text as a whole."""
        unit = judged.unit
        ranges = self.policy.replaced(judged.scores, unit.end - unit.start, direction)
        return [(unit.start + start, unit.start + end) for start, end in ranges]

    async def judged(self, fold: Fold, units: Sequence[Unit]) -> list[Judged]:
        """Return the judgements of a fold's next units; every chain of them has a deadline of its own.

        Raises
        ------
        NotScoredError
            A chain was not scored; the fold has those before it.
        """
        return [judged async for judged in self._each(fold, units)]

    async def _each(self, fold: Fold, units: Sequence[Unit]) -> AsyncGenerator[Judged]:
        known = await self._known(fold, units)
        chained = chains(units)
        starts = accumulate(map(len, chained), initial=0)
        parts = [known[start : start + len(chain)] for start, chain in zip(starts, chained, strict=False)]
        for part in parts:
            for judged in await self._added(fold, part):
                yield judged
            await asyncio.sleep(0)  # where all is known nothing else lets the event loop go on

    async def _known(self, fold: Fold, units: Sequence[Unit]) -> list[Known]:
        return [Known(unit) for unit in units] if self.cache is None else await self.cache.look(fold, units)

    async def _added(self, fold: Fold, chain: Sequence[Known]) -> list[Judged]:
        """Take in a chain: from the first unit that is not known to the last, one job scores them all.

        A pass reads what stands left of a unit anyway, so what is known in between costs nothing.
        """
        missing = [at for at, one in enumerate(chain) if one.scores is None]
        asked = chain[missing[0] : missing[-1] + 1] if missing else ()
        fresh = await self.scoring.run(lambda: fold.score([one.unit for one in asked])) if asked else []
        found = [one.scores for one in chain]
        for at, (one, scores) in enumerate(zip(asked, fresh, strict=True), missing[0] if missing else 0):
            if one.scores is None:
                found[at] = scores
                if self.cache is not None:
                    self.cache.keep(one, scores)
        return [fold.add(one.unit, scores) for one, scores in zip(chain, found, strict=True) if scores is not None]
