"""The values the learner speaks in, and the protocol of a bot that learns.

Times are UTC milliseconds since 1970. Rows travel as JSON; every ``to_json`` has a ``from_json`` that undoes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

Clock = Callable[[], int]
"""Returns now, as UTC milliseconds since 1970."""

SampleState = Literal["held", "admitted", "quarantined", "discarded", "expired", "revoked", "forgotten"]
SampleKind = Literal["turn", "exchange"]
"""``turn``: a person's turn as the answer to the turn before it. ``exchange``: a prompt and the bot's reply to it."""

FACTORY = "factory"
"""Name of the version before any learning; always a rollback target."""

UPSTREAM = "upstream:"
"""What the version of an upstream's reply begins with; the model follows."""


def brief(version: str) -> str:
    """Return a version's id as people see it: the beginning of a hash, a model whole.

    >>> brief("0123456789abcdef"), brief("upstream:a-long-model")
    ('0123456789ab', 'upstream:a-long-model')
    """
    return version if version.startswith(UPSTREAM) else version[:12]


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation as a bot sees it."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """One prompt and its answer, as logged: blocked ones too.

    ``prompt_verdict`` and ``reply_verdict`` are JSON of :class:`filters.types.Verdict`; with their ``scores`` (filter
    name to version and values) they are the lineage of every sample made from the exchange.
    """

    request_id: str
    author: str
    conversation: str
    key_id: str
    prompt: str
    reply: str
    previous: str
    version: str
    epoch: int
    started_ms: int
    finished_ms: int
    finish: str
    prompt_verdict: Mapping[str, Any]
    reply_verdict: Mapping[str, Any]
    scores: Mapping[str, Any]
    model: str = ""
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """A candidate for training.

    Attributes
    ----------
    pattern
        Keyed hash of the normalised prompt-reply pair: equal for exact repeats.
    due_ms
        When the cool-down ends.
    version
        The version that answered (``exchange``) or gave the turn before (``turn``).
    policy, filters
        The policy and the filter versions that gave ``verdict``; the draw refuses other filter versions.
    scores
        Filter name to label to score, so that the draw can run the live policy again without scoring anew.
    released_by
        The reviewer whose release admitted it, else empty.
    update
        The update it was drawn into, else empty.
    """

    id: str
    kind: SampleKind
    state: SampleState
    request_id: str
    author: str
    conversation: str
    prompt: str
    reply: str
    pattern: str
    captured_ms: int
    due_ms: int
    version: str
    policy: str
    filters: Mapping[str, str]
    scores: Mapping[str, Any]
    reasons: Sequence[Mapping[str, Any]] = ()
    coverage: float = 1.0
    released_by: str = ""
    update: str = ""
    cohort: str = ""
    learnable: bool = True


@dataclass(frozen=True, slots=True)
class Update:
    """One training step from one batch, written down before it runs.

    ``inputs`` is the sha256 of the file that holds the exact inputs (embedding bytes, token ids), so that replay never
    encodes again. ``samples`` are ordered; ``content`` holds a keyed hash per sample in the same order.
    """

    id: str
    parent: str
    bot: str
    samples: tuple[str, ...]
    content: tuple[str, ...]
    inputs: str
    seed: int
    hyper: Mapping[str, Any]
    epoch: int
    created_ms: int
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """An immutable state of the bot: ``id`` is the sha256 of weights and update, ``weights`` that of the weights alone.

    ``segments`` are the row segments in order, shared with its ancestors, each named by its sha256.
    """

    id: str
    parent: str
    update: str
    weights: str
    segments: tuple[str, ...]
    tombstones: str
    ranker: str
    encoder: str
    rows: int
    fingerprint: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Answerer(Protocol):
    """A loaded version that answers; immutable, shared by threads, free of torch."""

    @property
    def version(self) -> str:
        """Id of the version."""

    def reply(self, turns: Sequence[Turn], *, seed: int = 0, choice: int = 0) -> Iterator[str]:
        """Yield the reply in pieces; the same turns, seed and choice give the same text."""

    def evidence(self, turns: Sequence[Turn], *, limit: int = 5) -> list[tuple[str, float]]:
        """Return sample ids (or ``factory:<n>``) behind the reply, with their weight, strongest first."""


@runtime_checkable
class Bot(Protocol):
    """A model that can be trained, loaded and replayed. Deterministic: equal inputs give equal bytes."""

    @property
    def name(self) -> str:
        """What the settings call it."""

    def hyper(self) -> Mapping[str, Any]:
        """Return the hyper-parameters of an update, as its record will hold them."""

    def fingerprint(self) -> Mapping[str, str]:
        """Return hashes of a canary encode and a canary step, and library versions: equal where bytes will be equal."""

    def factory(self, folder: Path) -> Version:
        """Write the version before any learning under ``folder`` and return it."""

    def prepare(self, samples: Sequence[Sample], path: Path) -> str:
        """Write the exact inputs of an update for ``samples`` to ``path`` and return the file's sha256."""

    def train(self, folder: Path, parent: Version, update: Update, inputs: Path) -> Version:
        """Write the candidate that ``update`` makes from ``parent`` under ``folder`` and return it."""

    def load(self, folder: Path, version: Version) -> Answerer:
        """Load a version to answer with; raises :class:`~learner.errors.CorruptError` when a hash does not match."""

    def verify(self, folder: Path, version: Version) -> None:
        """Raise :class:`~learner.errors.CorruptError` unless every file of the version is what its name says."""
