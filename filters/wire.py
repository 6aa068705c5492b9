"""Scores and verdicts as JSON values and back, for the store and the log; embeddings do not travel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filters.types import Delta, Reason, Scores, Span, Verdict

Json = dict[str, Any]


def span_to_json(span: Span) -> Json:
    """Return a span as a JSON object."""
    return {"start": span.start, "end": span.end, "label": span.label, "score": span.score}


def _spans(values: Any) -> tuple[Span, ...]:  # noqa: ANN401  (JSON)
    return tuple(Span(**value) for value in values)


def scores_to_json(scores: Scores) -> Json:
    """Return one filter's scores as a JSON object."""
    return {
        "filter": scores.filter,
        "version": scores.version,
        "values": dict(scores.values),
        "coverage": scores.coverage,
        "absent": dict(scores.absent),
        "error": scores.error,
        "spans": [span_to_json(span) for span in scores.spans],
        "variants": dict(scores.variants),
        "delta": None if scores.delta is None else {"filter": scores.delta.filter, "values": dict(scores.delta.values)},
    }


def scores_from_json(value: Mapping[str, Any]) -> Scores:
    """Return what :func:`scores_to_json` wrote."""
    delta = value.get("delta")
    return Scores(
        filter=value["filter"],
        version=value["version"],
        values=dict(value["values"]),
        coverage=value["coverage"],
        absent=dict(value["absent"]),
        error=value["error"],
        spans=_spans(value["spans"]),
        variants=dict(value["variants"]),
        delta=None if delta is None else Delta(delta["filter"], dict(delta["values"])),
    )


def reason_to_json(reason: Reason) -> Json:
    """Return a reason as a JSON object."""
    return {
        "label": reason.label,
        "filter": reason.filter,
        "score": reason.score,
        "threshold": reason.threshold,
        "purpose": reason.purpose,
        "spans": [span_to_json(span) for span in reason.spans],
        "variant": reason.variant,
        "detail": reason.detail,
    }


def verdict_to_json(verdict: Verdict) -> Json:
    """Return a verdict as a JSON object."""
    return {
        "serve": verdict.serve,
        "learn": verdict.learn,
        "reasons": [reason_to_json(reason) for reason in verdict.reasons],
        "coverage": verdict.coverage,
        "policy": verdict.policy,
        "filters": dict(verdict.filters),
        **({"unscored": list(verdict.unscored)} if verdict.unscored else {}),
    }


def verdict_from_json(value: Mapping[str, Any]) -> Verdict:
    """Return what :func:`verdict_to_json` wrote.

    >>> verdict = Verdict("flag", "quarantine", (Reason("toxicity", "toxicity", 0.6, 0.5, "serve"),))
    >>> verdict_from_json(verdict_to_json(verdict)) == verdict
    True
    """
    reasons = tuple(Reason(**{**reason, "spans": _spans(reason["spans"])}) for reason in value["reasons"])
    return Verdict(
        serve=value["serve"],
        learn=value["learn"],
        reasons=reasons,
        coverage=value["coverage"],
        policy=value["policy"],
        filters=dict(value["filters"]),
        unscored=tuple(value.get("unscored", ())),
    )
