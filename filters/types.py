"""The values filters speak in, and the protocols they keep.

A filter turns an :class:`Item` into :class:`Scores`. It knows no threshold, no network, no store and no clock;
thresholds live in :mod:`filters.policy`, which turns scores into a :class:`Verdict`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Direction = Literal["in", "out"]
Purpose = Literal["serve", "learn"]
ServeVerdict = Literal["allow", "flag", "unscored", "block"]
LearnVerdict = Literal["hold", "quarantine", "reject"]

SERVE_ORDER: tuple[ServeVerdict, ...] = ("allow", "flag", "unscored", "block")
LEARN_ORDER: tuple[LearnVerdict, ...] = ("hold", "quarantine", "reject")

Embedding = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Item:
    """One text to score, with what is known about where it came from.

    ``prompt`` is the turn that ``text`` answers; ``context`` are the units that stand directly left of ``text`` in the
    same message: they help to read ``text`` and are scored elsewhere. ``at_ms`` is UTC milliseconds since 1970.
    """

    text: str
    direction: Direction = "in"
    prompt: str | None = None
    author: str | None = None
    conversation: str | None = None
    at_ms: int | None = None
    context: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open character range ``[start, end)`` of the item's text that carries a label's score."""

    start: int
    end: int
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Delta:
    """What a filter with memory asks the store to merge: commutative, keyed by request id."""

    filter: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Scores:
    """One filter's scores for one item.

    Attributes
    ----------
    values
        Label to score, each in [0, 1]; 1 is worst. A NaN handed in becomes an absent label, and the text unscored.
    coverage
        Scored tokens / all tokens of the text, in [0, 1]. Below 1 the text is unscored, never clean.
    absent
        Label to the reason why it has no score (``uncalibrated``, ``timeout``, ...). Absent labels decide nothing.
    error
        Why the text could not be scored in full; empty when it was.
    variants
        Label to the name of the variant of the text that gave the score; labels scored on the plain text are left out.
    """

    filter: str
    version: str
    values: Mapping[str, float] = field(default_factory=dict)
    coverage: float = 1.0
    absent: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    spans: tuple[Span, ...] = ()
    variants: Mapping[str, str] = field(default_factory=dict)
    embedding: Embedding | None = field(default=None, compare=False, repr=False)
    delta: Delta | None = None

    def __post_init__(self) -> None:
        bad = sorted(label for label, value in self.values.items() if not 0.0 <= value <= 1.0)
        if not bad:
            return
        if any(not math.isnan(self.values[label]) for label in bad):
            raise ValueError(f"scores of {self.filter} outside [0, 1]: {', '.join(bad)}")
        object.__setattr__(self, "values", {k: v for k, v in self.values.items() if k not in bad})
        object.__setattr__(self, "absent", {**self.absent, **dict.fromkeys(bad, "nan")})
        object.__setattr__(self, "coverage", 0.0)
        object.__setattr__(self, "error", self.error or "the filter returned NaN")

    @property
    def scored(self) -> bool:
        """Whether every token of the text was scored."""
        return self.coverage >= 1.0 and not self.error


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a verdict is not the mildest one."""

    label: str
    filter: str
    score: float | None
    threshold: float | None
    purpose: Purpose
    spans: tuple[Span, ...] = ()
    variant: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision with its reasons; ``policy`` and ``filters`` name the versions that made it.

    ``unscored`` are the policy's labels that nobody scored in full, of a text that is unscored.
    """

    serve: ServeVerdict
    learn: LearnVerdict
    reasons: tuple[Reason, ...] = ()
    coverage: float = 1.0
    policy: str = ""
    filters: Mapping[str, str] = field(default_factory=dict)
    unscored: tuple[str, ...] = ()


@runtime_checkable
class Filter(Protocol):
    """Items in, scores out. Synchronous and pure; raising means *unscored*, decided by the caller."""

    @property
    def name(self) -> str:
        """A stable instance name; two instances of one class have two names."""

    @property
    def version(self) -> str:
        """Content address of weights, calibration and code that shape the scores."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label that this filter may give."""

    def score_many(self, items: Sequence[Item]) -> list[Scores]:
        """Return one :class:`Scores` per item, in order; an item's scores never depend on its neighbours."""


@runtime_checkable
class Encoder(Protocol):
    """Texts in, embeddings out."""

    @property
    def version(self) -> str:
        """sha256 over weights and tokenizer."""

    @property
    def dim(self) -> int:
        """Length of an embedding."""

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of ``text``, special tokens not counted."""

    def embed_many(self, texts: Sequence[str]) -> Embedding:
        """Return ``(n_texts, dim)`` float32, rows of unit length; a row never depends on its neighbours."""
