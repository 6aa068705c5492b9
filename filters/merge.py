"""Many scores into one, by the maximum: over the variants of a unit, the units of a text, the filters of a guard."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from filters.types import Delta, Embedding, Scores, Span
from filters.units import Unit

MAX_SPANS = 16  # of one label; a reason names the worst places, not all of a long text


def over_variants(
    plain: Scores, others: Sequence[tuple[str, Scores]], as_written: Collection[str] = frozenset()
) -> Scores:
    """Return the plain text's scores, raised to those of the variants, which are named where they are higher.

    Labels ``as_written`` are the plain text's alone.
    """
    values, names, error, coverage = dict(plain.values), dict(plain.variants), plain.error, plain.coverage
    for name, scores in others:
        for label, value in scores.values.items():
            if value > values.get(label, -1.0) and label not in as_written:
                values[label], names[label] = value, name
        if not scores.scored and not error:
            error = scores.error or f"the variant {name} was scored in part"
        coverage = min(coverage, scores.coverage)
    return replace(plain, values=values, variants=names, error=error, coverage=coverage)


@dataclass
class Running:
    """One filter's scores over the units so far."""

    filter: str
    version: str
    values: dict[str, float] = field(default_factory=dict)
    variants: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    spans: dict[str, list[Span]] = field(default_factory=dict)
    delta: dict[str, float] = field(default_factory=dict)
    error: str = ""
    covered: float = 0.0
    weight: float = 0.0
    embedding: Embedding | None = None

    def add(self, unit: Unit, scores: Scores) -> None:
        """Take in the scores of the next unit."""
        weight = max(1.0, float(unit.tokens))
        self.weight += weight
        self.covered += weight * scores.coverage
        self.error = self.error or scores.error
        self.absent.update(scores.absent)
        for label, value in scores.values.items():
            self._spans(unit, label, value, scores)
            if value > self.values.get(label, -1.0):
                self.values[label] = value
                self.variants.pop(label, None)
                if label in scores.variants:
                    self.variants[label] = scores.variants[label]
        for name, amount in scores.delta.values.items() if scores.delta else ():
            self.delta[name] = self.delta.get(name, 0.0) + amount
        if scores.embedding is not None:
            share = scores.embedding * np.float32(weight)
            self.embedding = share if self.embedding is None else self.embedding + share

    def _spans(self, unit: Unit, label: str, value: float, scores: Scores) -> None:
        """Note where in the text the score stands: the filter's own spans, or else the unit.

        What only a variant shows has no place of its own in the text.
        """
        own = [span for span in scores.spans if span.label == label and label not in scores.variants]
        for span in own or [Span(0, unit.end - unit.start, label, value)]:
            self._span(Span(unit.start + span.start, unit.start + span.end, label, value))

    def _span(self, span: Span) -> None:
        spans = self.spans.setdefault(span.label, [])
        spans.append(span)
        if len(spans) > MAX_SPANS:
            spans.remove(min(spans, key=lambda held: (held.score, -held.start)))

    @property
    def scores(self) -> Scores:
        """The scores of the text so far: the maximum over its units, the embedding their mean, of unit length."""
        embedding = self.embedding
        if embedding is not None:
            length = float(np.linalg.norm(embedding))
            embedding = (embedding / length).astype(np.float32) if length else embedding
        whole = self.covered >= self.weight
        return Scores(
            filter=self.filter,
            version=self.version,
            values=dict(self.values),
            coverage=1.0 if whole else self.covered / self.weight,
            absent=dict(self.absent),
            error=self.error,
            spans=tuple(span for label in sorted(self.spans) for span in self.spans[label]),
            variants=dict(self.variants),
            embedding=embedding,
            delta=Delta(self.filter, dict(self.delta)) if self.delta else None,
        )


def over_filters(scores: Mapping[str, Scores]) -> Scores:
    """Return one value for every filter's scores of a text; its version is the hash of theirs."""
    values: dict[str, float] = {}
    variants: dict[str, str] = {}
    absent: dict[str, str] = {}
    for one in scores.values():
        absent.update(one.absent)
        for label, value in one.values.items():
            if value > values.get(label, -1.0):
                values[label] = value
                variants.pop(label, None)
                variants.update({label: one.variants[label]} if label in one.variants else {})
    versions = "\n".join(f"{name} {one.version}" for name, one in sorted(scores.items()))
    return Scores(
        filter="guardian",
        version=hashlib.sha256(versions.encode()).hexdigest(),
        values=values,
        coverage=min((one.coverage for one in scores.values()), default=0.0),
        absent={label: why for label, why in absent.items() if label not in values},
        error="; ".join(f"{name}: {one.error}" for name, one in scores.items() if one.error),
        spans=tuple(span for one in scores.values() for span in one.spans),
        variants=variants,
        embedding=next((one.embedding for one in scores.values() if one.embedding is not None), None),
    )
