"""Filters and a policy put together: texts in, verdicts out, whole or as they stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from filters.code import code_version
from filters.errors import FilterError
from filters.language import ByLanguage
from filters.merge import Running, over_filters, over_variants
from filters.normalise import Normaliser, Variant
from filters.policy import Policy, worst_learn, worst_serve
from filters.toxicity import ToxicityFilter
from filters.types import Filter, Item, Scores, Verdict
from filters.units import Unit, UnitSplitter, chains
from filters.wire import Json, reason_to_json


@dataclass(frozen=True, slots=True)
class Judged:
    """A closed unit with its own scores, and the verdict on the text up to its end."""

    unit: Unit
    scores: tuple[Scores, ...]
    verdict: Verdict


class Fold:
    """The judgement of one text as a left fold over its units; the way it is fed does not matter.

    ``item`` says what is known besides the text; the policy is pinned for the whole of it.
    """

    def __init__(
        self,
        filters: Sequence[Filter],
        policy: Policy,
        item: Item,
        count_tokens: Callable[[str], int],
        normaliser: Normaliser | None = None,
    ) -> None:
        self._filters = filters
        self._normaliser = normaliser or Normaliser()
        self._policy = policy
        self._item = item
        self._splitter = UnitSplitter(count_tokens)
        self._running = {one.name: Running(one.name, one.version) for one in filters}
        self._any = self._added = False

    def feed(self, piece: str) -> list[Judged]:
        """Return what ``piece`` closes, judged, in order."""
        return self._judged(self.split(piece))

    def close(self) -> list[Judged]:
        """Return the rest, judged; a text without a character is judged as one empty unit."""
        return self._judged(self.rest())

    def whole(self, text: str) -> list[Judged]:
        """Return a whole text's units, judged: as :meth:`feed` and :meth:`close` would, in the fewest passes."""
        return self._judged([*self.split(text), *self.rest()])

    def _judged(self, units: Sequence[Unit]) -> list[Judged]:
        scored = ((chain, self.score(chain)) for chain in chains(units))
        return [self.add(unit, found) for chain, each in scored for unit, found in zip(chain, each, strict=True)]

    def split(self, piece: str) -> list[Unit]:
        """Return the units that ``piece`` closes, for :meth:`score` and :meth:`add`, one after the other."""
        units = self._splitter.feed(piece)
        self._any = self._any or bool(units)
        return units

    def rest(self) -> list[Unit]:
        """Return the last units; one empty unit where there were none."""
        return self._splitter.close() or ([] if self._any else [Unit("", 0, 0, (), 0)])

    @property
    def scores(self) -> dict[str, Scores]:
        """Each filter's scores of the text so far: per label the maximum over the units."""
        return {name: running.scores for name, running in self._running.items() if self._added}

    def verdict(self, policy: Policy | None = None) -> Verdict:
        """Return the verdict on the text so far, by the pinned policy if no other is given."""
        return (policy or self._policy).decide(list(self.scores.values()), self._item.direction)

    def score(self, units: Sequence[Unit]) -> list[tuple[Scores, ...]]:
        """Return every filter's scores of consecutive units, which share a pass where they are of one chain.

        Nothing of the fold changes, so it may run in another thread.
        """
        items = [replace(self._item, text=unit.text, context=unit.context or self._item.context) for unit in units]
        others = [self._normaliser.variants(unit.text, "".join(unit.context)) for unit in units]
        return list(zip(*(score_units(one, items, others) for one in self._filters), strict=True))

    def material(self, unit: Unit) -> bytes | None:
        """Return all that a unit's scores depend on, the versions included; None where a filter has a memory.

        A filter says that it has none by a true attribute ``memoryless``.
        """
        if not all(getattr(one, "memoryless", False) for one in self._filters):
            return None
        versions = [[one.name, one.version] for one in self._filters]
        item = [unit.text, unit.context or self._item.context, self._item.prompt, self._item.direction]
        return json.dumps([code_version(), versions, item]).encode()

    def add(self, unit: Unit, found: tuple[Scores, ...]) -> Judged:
        """Take in the scores of the next unit, and return the judgement of the text up to its end."""
        self._added = True
        for scores in found:
            self._running[scores.filter].add(unit, scores)
        return Judged(unit, found, self.verdict())


def score_units(one: Filter, items: Sequence[Item], others: Sequence[Sequence[Variant]]) -> list[Scores]:
    """Return a filter's scores of each item over its variants; what it does wrong is *unscored*, with a reason."""
    asked = [
        *items,
        *(replace(item, text=other.text) for item, each in zip(items, others, strict=True) for other in each),
    ]
    try:
        found = one.score_many(asked)
        problem = _problem(one, asked, found)
    except FilterError as exc:
        problem = str(exc)
    except Exception as exc:  # noqa: BLE001  (the edge to plug-ins of others, which may raise anything: fail closed)
        problem = f"the filter raised {type(exc).__name__}"
    if problem:
        return [Scores(one.name, one.version, coverage=0.0, error=problem) for _ in items]
    rest = iter(found[len(items) :])
    as_written: Collection[str] = getattr(one, "as_written", frozenset())
    return [
        over_variants(plain, [(other.name, next(rest)) for other in each], as_written)
        for plain, each in zip(found, others, strict=False)  # found goes on with the variants
    ]


def _problem(one: Filter, items: Sequence[Item], found: Sequence[Scores]) -> str:
    """Return in which way the answer breaks the protocol, or an empty text."""
    if len(found) != len(items):
        return f"the filter gave {len(found)} scores for {len(items)} items"
    for scores in found:
        if scores.filter != one.name or scores.version != one.version:
            return f"the filter's scores name {scores.filter} {scores.version}"
        spoken = {*scores.values, *scores.absent}
        if unknown := sorted(spoken - set(one.labels)):
            return f"the filter gave labels it did not declare: {', '.join(unknown)}"
        if scores.scored and (silent := sorted(set(one.labels) - spoken)):
            return f"the filter said nothing about {', '.join(silent)}"
    return ""


class Guardian:
    """Scores and verdicts without a server; without arguments with the shipped weights and the shipped policy.

    Raises
    ------
    WeightsError
        The shipped encoder was not built; ``make setup`` builds it.
    ValueError
        Two filters have one name.
    """

    def __init__(
        self,
        filters: Sequence[Filter] | None = None,
        policy: Policy | None = None,
        count_tokens: Callable[[str], int] | None = None,
        normaliser: Normaliser | None = None,
    ) -> None:
        self.filters: tuple[Filter, ...] = tuple(filters) if filters is not None else (ByLanguage(ToxicityFilter()),)
        names = [one.name for one in self.filters]
        if len(set(names)) != len(names):
            raise ValueError(f"two filters have one name: {', '.join(names)}")
        self.policy = policy or Policy.default()
        self._count_tokens = count_tokens or _token_counter(self.filters)
        self._normaliser = normaliser or Normaliser(_vocabulary(self.filters))

    @property
    def versions(self) -> dict[str, str]:
        """Filter name to version."""
        return {one.name: one.version for one in self.filters}

    def fold(self, item: Item, policy: Policy | None = None) -> Fold:
        """Return the fold for one text; ``item.text`` is ignored, feed it."""
        return Fold(self.filters, policy or self.policy, item, self._count_tokens, self._normaliser)

    def judge(self, item: Item, policy: Policy | None = None) -> tuple[dict[str, Scores], Verdict]:
        """Return each filter's scores of a whole text, and the verdict."""
        fold = self.fold(item, policy)
        fold.whole(item.text)
        return fold.scores, fold.verdict()

    def score_many(self, texts: Sequence[str | Item]) -> list[Scores]:
        """Return one :class:`Scores` per text, in order, merged over filters, units and variants."""
        items = [Item(text) if isinstance(text, str) else text for text in texts]
        return [over_filters(self.judge(item)[0]) for item in items]

    def check(self, *, prompt: str | None = None, reply: str | None = None) -> Verdict:
        """Return the worse verdict of a prompt and the reply to it, with the reasons of both."""
        items = [] if prompt is None else [Item(prompt, "in")]
        items += [] if reply is None else [Item(reply, "out", prompt=prompt)]
        if not items:
            raise ValueError("give a prompt, a reply or both")
        verdicts = [self.judge(item)[1] for item in items]
        return replace(
            verdicts[-1],
            serve=worst_serve(*(verdict.serve for verdict in verdicts)),
            learn=worst_learn(*(verdict.learn for verdict in verdicts)),
            reasons=tuple(reason for verdict in verdicts for reason in verdict.reasons),
            coverage=min(verdict.coverage for verdict in verdicts),
        )


def _token_counter(filters: Sequence[Filter]) -> Callable[[str], int]:
    """Return the first filter's own token counter; for filters without one, characters, which are never too few."""
    for one in filters:
        encoder = getattr(one, "encoder", None)
        if encoder is not None:
            counter: Callable[[str], int] = encoder.count_tokens
            return counter
    return len


def _vocabulary(filters: Sequence[Filter]) -> Mapping[str, int]:
    """Return the first vocabulary that a filter's encoder has; without one no variant needs known words."""
    for one in filters:
        found: Mapping[str, int] | None = getattr(getattr(one, "encoder", None), "vocabulary", None)
        if found is not None:
            return found
    return {}


def report(item: Item, item_id: str | None, scores: dict[str, Scores], verdict: Verdict) -> Json:
    """Return one line of ``tayguard score``; ``scores`` are the highest of any filter."""
    merged = over_filters(scores)
    return {
        "id": item_id,
        "text": item.text,
        "scores": {label: round(value, 6) for label, value in sorted(merged.values.items())},
        "verdict": {"serve": verdict.serve, "learn": verdict.learn},
        "reasons": [reason_to_json(reason) for reason in verdict.reasons],
        "coverage": verdict.coverage,
    }
