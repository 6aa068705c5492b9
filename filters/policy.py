"""Scores to a verdict: the only place with thresholds. Pure, monotone and content-addressed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from filters.policy_file import REPLACED, parse
from filters.ranges import Range, joined
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

Message = Literal["blocked", "unscored", "stopped", "unavailable", "replaced"]


BARRED = "replace"
"""The label of the reason of a text that was blocked since what should be replaced could not be."""

REPLACES = "replaced"
"""The detail of a reason whose words are replaced."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which score on a label flags, has its words replaced, blocks (serving), quarantines or rejects (learning).

    None is never.
    """

    flag: float | None = None
    replace: float | None = None
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
        Direction to label to ``block`` (fail closed) or ``allow``; the empty label speaks for all others. A text is
        served where every label that was not scored in full allows it. Learning it needs a reviewer either way.
    on_store_down
        ``fixed``: answer with the fixed reply; ``serve``: go on answering, learning nothing.
    messages
        Kind of message to language code to text; ``en`` is there for each but ``replaced``, which has a default.
    mode
        ``shadow``: judge, count and capture as ever, but answer as if nobody did.
    """

    thresholds: Mapping[Direction, Mapping[str, Thresholds]]
    on_unscored: Mapping[Direction, Mapping[str, Literal["block", "allow"]]] = field(
        default_factory=lambda: {"in": {"": "block"}, "out": {"": "block"}}
    )
    on_store_down: Literal["fixed", "serve"] = "fixed"
    messages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    mode: Literal["enforce", "shadow"] = "enforce"

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
            "on_unscored": {direction: _shortest(actions) for direction, actions in self.on_unscored.items()},
            "on_store_down": self.on_store_down,
            "messages": {kind: dict(texts) for kind, texts in self.messages.items()},
            **({"mode": self.mode} if self.shadow else {}),
        }
        return json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @cached_property
    def id(self) -> str:
        """sha256 of the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def shadow(self) -> bool:
        """Whether verdicts are found and told, and change no answer."""
        return self.mode == "shadow"

    def message(self, kind: Message, language: str = "en") -> str:
        """Return the fixed text of a kind, in ``language`` where the policy has it, else in English."""
        texts = self.messages.get(kind, {"en": REPLACED}) if kind == "replaced" else self.messages[kind]
        return texts.get(language) or texts.get(language.split("-", 1)[0]) or texts["en"]

    def lets_through(self, verdict: Verdict, direction: Direction) -> bool:
        """Return whether a text with this verdict may be served."""
        if self.shadow:
            return True
        if verdict.serve == "unscored":
            actions = self.on_unscored[direction]
            return all(actions.get(label, actions[""]) == "allow" for label in verdict.unscored or ("",))
        return verdict.serve != "block"

    def replaced(self, scores: Sequence[Scores], length: int, direction: Direction) -> list[Range]:
        """Return what is to be replaced of one unit of ``length`` characters, by its own scores, in order and apart.

        A label without a place of its own in the unit, as one that only a variant shows, has the unit replaced.
        """
        limits = {} if self.shadow else self.thresholds.get(direction, {})
        found: list[Range] = []
        for score in scores:
            for label, value in score.values.items():
                limit = limits.get(label, Thresholds()).replace
                if limit is None or value < limit:
                    continue
                own = [] if label in score.variants else [one for one in score.spans if one.label == label]
                found += [(span.start, span.end) for span in own] or [(0, length)]
        return joined(found)

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
            unscored=_unscored_labels(scores, limits) if serve == "unscored" else (),
        )

    def _crossed(self, scores: Sequence[Scores], limits: Mapping[str, Thresholds]) -> Iterator[_Finding]:
        for score in scores:
            for label, value in sorted(score.values.items()):
                limit = limits.get(label, Thresholds())
                serving = (("block", limit.block), ("replace", limit.replace), ("flag", limit.flag))
                yield from _first(score, label, value, "serve", serving)
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
        detail = REPLACES if outcome == "replace" else ""
        reason = Reason(label, score.filter, value, threshold, purpose, spans, variant, detail)
        serve: ServeVerdict = "flag" if outcome == "replace" else outcome if outcome in SERVE_ORDER else "allow"
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


def _unscored_labels(scores: Sequence[Scores], limits: Mapping[str, Thresholds]) -> tuple[str, ...]:
    """Return the labels of the policy that no filter scored in full."""
    whole = {label for score in scores if score.scored for label in score.values}
    return tuple(sorted(set(limits) - whole))


def _shortest(actions: Mapping[str, str]) -> str | dict[str, str]:
    """Return what is done with unscored texts as a policy file says it: one word where no label is named."""
    named = {label or "default": action for label, action in actions.items()}
    return named if len(named) > 1 else actions[""]


def barred(verdict: Verdict, detail: str) -> Verdict:
    """Return the verdict made a block, since what should be replaced cannot be."""
    reason = Reason(BARRED, "", None, None, "serve", detail=detail)
    return replace(
        verdict, serve="block", learn=worst_learn(verdict.learn, "quarantine"), reasons=(*verdict.reasons, reason)
    )


def _set_ones(limits: Thresholds) -> dict[str, float]:
    named = asdict(limits)
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
