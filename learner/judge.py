"""A policy as a judge of a sample's stored scores: what the draw asks once more before anything is learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filters.policy import Policy, worst_learn
from filters.types import Direction, LearnVerdict, Scores
from filters.wire import scores_from_json
from learner.buffer import Judge
from learner.types import Sample

_SIDES: tuple[Direction, ...] = ("in", "out")


def judge_of(policy: Policy) -> Judge:
    """Return the policy's learn verdict on a sample, by its stored scores alone; none is ``quarantine``."""

    def judge(sample: Sample) -> LearnVerdict:
        verdicts = [
            policy.decide(stored_scores(sample.scores[side]), side) for side in _SIDES if sample.scores.get(side)
        ]
        if not verdicts:
            return "quarantine"
        unclean = any(verdict.serve != "allow" for verdict in verdicts)
        return worst_learn("quarantine" if unclean else "hold", *(verdict.learn for verdict in verdicts))

    return judge


def stored_scores(side: Mapping[str, Any]) -> list[Scores]:
    """Return one side's scores; ``side`` is filter name to the JSON of its scores."""
    return [scores_from_json(value) for value in side.values()]
