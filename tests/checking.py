"""A running guard whose filter scores detoxify's labels, for tests of the endpoints that integrators use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx

from filters import Guardian, Policy
from guard.auth import new_secret, put_key, record_for
from guard.scoring import ScoringLimits
from learner.store import Keys
from tests.fakes import LabelFilter
from tests.guarding import POLICY, Guarded, now_ms, serving

LIMITS = POLICY.thresholds["in"]["red"]  # flag 0.5, block 0.9
LABELS = replace(POLICY, thresholds={side: dict.fromkeys(LabelFilter.six, LIMITS) for side in ("in", "out")})
OPEN = replace(LABELS, on_unscored={"in": {"": "allow"}, "out": {"": "allow"}})
BROKEN = {"raise": "broken", "nan": "broken", "hang": "broken", "partial": "unscored", "absent": "unscored"}
"""How a filter fails, and what the metrics call it."""


@contextmanager
def checking(
    redis_url: str, keys: Keys, *, broken: str = "", policy: Policy = LABELS, **changes: Any
) -> Iterator[Guarded]:
    """Give a running guard; its filter fails in the way that ``broken`` names."""
    labels = LabelFilter(broken)
    changes.setdefault("scoring", ScoringLimits(timeout_s=0.1 if broken else 5.0))
    try:
        with serving(redis_url, keys, guardian=Guardian([labels], policy), default_policy=policy, **changes) as guard:
            yield guard
    finally:
        labels.let_go.set()


def post(guard: Guarded, path: str, body: Any, **headers: str) -> httpx.Response:
    """Post JSON to a running guard with its key."""
    return httpx.post(guard.url + path, json=body, headers={**guard.headers, **headers}, timeout=30)


def counted(guard: Guarded, endpoint: str) -> dict[str, float]:
    """Return how many checks of an endpoint ended in which way."""
    samples = [sample for metric in guard.running.metrics.registry.collect() for sample in metric.samples]
    return {
        sample.labels["outcome"]: sample.value
        for sample in samples
        if sample.name == "tayguard_checks_total" and sample.labels["endpoint"] == endpoint
    }


def nothing_was_kept(guard: Guarded) -> bool:
    """Return whether no exchange was logged, and the store has nothing of this bot but its keys and what is live."""
    names = set(guard.store._redis.keys(f"{guard.keys.prefix}*"))
    return guard.events() == [] and names <= {guard.keys.keys, guard.keys.log, guard.keys.state}


def key_with(guard: Guarded, role: str) -> str:
    """Return a fresh key with one role."""
    secret = new_secret()
    guard.store.run(put_key(guard.keys, record_for(secret, [role]), actor="test", at_ms=now_ms()))
    return secret
