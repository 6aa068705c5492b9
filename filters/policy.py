"""Scores to a verdict: the only place with thresholds. Pure, monotone and content-addressed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from filters.policy_file import parse
from filters.types import (
    LEARN_ORDER,
    SERVE_ORDER,
    Direction,
    LearnVerdict,
    Purpose,
    Reason,
    Scores,
    ServeVerdict,
    Verdict,
)

DEFAULT_FILE = Path(__file__).with_name("policy_default.toml")

Message = Literal["blocked", "unscored", "stopped", "unavailable"]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which score on a label flags, blocks (serving), quarantines or rejects (learning); None is never."""

    flag: float | None = None
    block: float | None = None
    quarantine: float | None = None
    reject: float | None = None


@dataclass(frozen=True)
class Policy:
    """What may be answered and what may be learned.

    Attributes
    ----------
    thresholds
        Direction to label to thresholds. A label named here that no filter speaks of makes a text unscored.
    on_unscored
        Direction to ``block`` (fail closed) or ``allow``. Unscored is quarantined for learning either way.
    on_store_down
        ``fixed``: answer with the fixed reply; ``serve``: go on answering, learning nothing.
    messages
        Kind of message to language code to text; ``en`` is there for each.
    """

    thresholds: Mapping[Direction, Mapping[str, Thresholds]]
    on_unscored: Mapping[Direction, Literal["block", "allow"]] = field(
        default_factory=lambda: {"in": "block", "out": "block"}
    )
    on_store_down: Literal["fixed", "serve"] = "fixed"
    messages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def from_toml(cls, text: str) -> Policy:
        """Return the policy of a TOML text; raises PolicyError, which names the key and what it may be."""
        return cls._of(parse(text, "toml"))

    @classmethod
    def from_json(cls, text: str) -> Policy:
        """Return the policy that :meth:`to_json` wrote; raises PolicyError."""
        return cls._of(parse(text, "json"))

    @classmethod
    def default(cls) -> Policy:
        """Return the shipped policy."""
        return cls.from_toml(DEFAULT_FILE.read_text(encoding="utf-8"))

    @classmethod
    def _of(cls, fields: Mapping[str, object]) -> Policy:
        thresholds = fields.pop("thresholds") if isinstance(fields, dict) else {}
        known = {direction: {k: Thresholds(**v) for k, v in labels.items()} for direction, labels in thresholds.items()}
        return cls(thresholds=known, **fields)  # type: ignore[arg-type]  # parse has checked every field

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no spaces, no unset threshold."""
        thresholds = {
            direction: {label: _set_ones(limits) for label, limits in labels.items()}
            for direction, labels in self.thresholds.items()
        }
        whole = {
            "thresholds": thresholds,
            "on_unscored": dict(self.on_unscored),
            "on_store_down": self.on_store_down,
            "messages": {kind: dict(texts) for kind, texts in self.messages.items()},
        }
        return json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @cached_property
    def id(self) -> str:
        """sha256 of the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def message(self, kind: Message, language: str = "en") -> str:
        """Return the fixed text of a kind, in ``language`` where the policy has it, else in English."""
        texts = self.messages[kind]
        return texts.get(language) or texts.get(language.split("-", 1)[0]) or texts["en"]

    def lets_through(self, verdict: Verdict, direction: Direction) -> bool:
        """Return whether a text with this verdict may be served."""
        if verdict.serve == "unscored":
            return self.on_unscored[direction] == "allow"
        return verdict.serve != "block"

    def decide(self, scores: Sequence[Scores], direction: Direction) -> Verdict:
        """Return the verdict on one text from every filter's scores; a higher score never gives a milder one."""
        limits = self.thresholds.get(direction, {})
        reasons = [*self._crossed(scores, limits), *_unscored(scores, limits)]
        serve: ServeVerdict = "allow"
        learn: LearnVerdict = "hold"
        for _, serves, learns in reasons:
            serve = worst_serve(serve, serves)
            learn = worst_learn(learn, learns, "hold" if serves == "allow" else "quarantine")
        return Verdict(
            serve=serve,
            learn=learn,
            reasons=tuple(reason for reason, _, _ in reasons),
            coverage=min((score.coverage for score in scores), default=0.0),
            policy=self.id,
            filters={score.filter: score.version for score in scores},
        )

    def _crossed(self, scores: Sequence[Scores], limits: Mapping[str, Thresholds]) -> Iterator[_Finding]:
        for score in scores:
            for label, value in sorted(score.values.items()):
                limit = limits.get(label, Thresholds())
                yield from _first(score, label, value, "serve", (("block", limit.block), ("flag", limit.flag)))
                learning = (("reject", limit.reject), ("quarantine", limit.quarantine))
                yield from _first(score, label, value, "learn", learning)


_Finding = tuple[Reason, ServeVerdict, LearnVerdict]


def _first(
    score: Scores, label: str, value: float, purpose: Purpose, limits: Sequence[tuple[str, float | None]]
) -> Iterator[_Finding]:
    """Yield the severest limit that ``value`` reaches, if any; ``limits`` are severest first."""
    for outcome, threshold in limits:
        if threshold is None or value < threshold:
            continue
        spans = tuple(span for span in score.spans if span.label == label and span.score >= threshold)
        variant = score.variants.get(label, "")
        reason = Reason(label, score.filter, value, threshold, purpose, spans, variant)
        serve: ServeVerdict = outcome if outcome in SERVE_ORDER else "allow"
        learn: LearnVerdict = outcome if outcome in LEARN_ORDER else "hold"
        yield reason, serve, learn
        return


def _unscored(scores: Sequence[Scores], limits: Mapping[str, Thresholds]) -> Iterator[_Finding]:
    """Yield a finding for every filter that did not score all, and every label that no filter speaks of."""
    spoken = {label for score in scores for label in (*score.values, *score.absent)}
    for score in scores:
        if not score.scored:
            detail = score.error or f"{score.coverage:.0%} of the text was scored"
            yield Reason("unscored", score.filter, None, None, "serve", detail=detail), "unscored", "quarantine"
    for label in sorted(set(limits) - spoken):
        yield Reason(label, "", None, None, "serve", detail="no filter scores it"), "unscored", "quarantine"


def _set_ones(limits: Thresholds) -> dict[str, float]:
    named = {"flag": limits.flag, "block": limits.block, "quarantine": limits.quarantine, "reject": limits.reject}
    return {name: float(value) for name, value in named.items() if value is not None}


def worst_serve(*verdicts: ServeVerdict) -> ServeVerdict:
    """Return the severest.

    >>> worst_serve("allow", "unscored", "flag")
    'unscored'
    """
    return max(verdicts, key=SERVE_ORDER.index)


def worst_learn(*verdicts: LearnVerdict) -> LearnVerdict:
    """Return the severest.

    >>> worst_learn("hold", "quarantine")
    'quarantine'
    """
    return max(verdicts, key=LEARN_ORDER.index)
