"""Exchanges and samples for tests of the store, and a clock that stands still until it is told."""

from __future__ import annotations

from typing import Any

from filters.types import LearnVerdict, ServeVerdict, Verdict
from learner.capture import Capture, Mode, capture, samples_of
from learner.secrets import KeyedHash
from learner.store import Keys, Store
from learner.types import Exchange, Sample

HOUR_MS = 3_600_000
START_MS = 1_800_000_000_000
FILTERS = {"toxicity": "f1"}
hashed = KeyedHash(b"k" * 32)


class StillClock:
    """A clock that moves only when told."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def forward(self, by_ms: int) -> None:
        self.now_ms += by_ms


def verdict(serve: ServeVerdict = "allow", learn: LearnVerdict = "hold", coverage: float = 1.0) -> Verdict:
    """A verdict of policy ``p1`` by the filter versions that tests call today's."""
    return Verdict(serve=serve, learn=learn, coverage=coverage, policy="p1", filters=FILTERS)


def exchange(request_id: str = "r1", **changed: Any) -> Exchange:
    """An exchange that nothing is wrong with, but for what ``changed`` says."""
    values: dict[str, Any] = {
        "request_id": request_id, "author": "au1", "conversation": f"c-{request_id}", "key_id": "k1",
        "prompt": f"fine, and you? {request_id}", "reply": "good", "previous": "how are you?",
        "version": "v1", "epoch": 0,
        "started_ms": START_MS, "finished_ms": START_MS, "finish": "stop",
        "prompt_verdict": {"reasons": []}, "reply_verdict": {"reasons": []},
        "scores": {"in": {"toxicity": {"insult": 0.01}}, "out": {"toxicity": {"insult": 0.01}}},
    }  # fmt: skip
    return Exchange(**{**values, **changed})


def samples(
    this: Exchange,
    *,
    mode: Mode = "imitate",
    prompt: Verdict | None = None,
    reply: Verdict | None = None,
    cool_down_s: float = 6 * 3600,
    learn_anonymous: bool = False,
) -> tuple[Sample, ...]:
    """What may be learned from an exchange, with clean verdicts unless given."""
    return samples_of(
        this,
        prompt or verdict(),
        reply or verdict(),
        mode=mode,
        cool_down_s=cool_down_s,
        hashed=hashed,
        learn_anonymous=learn_anonymous,
    )


def captured(
    store: Store, keys: Keys, request_id: str = "r1", *, how: dict[str, Any] | None = None, **changed: Any
) -> str:
    """Capture an exchange and return the id of its sample, or an empty string; ``how`` goes to :func:`samples`."""
    this = exchange(request_id, **changed)
    found = samples(this, **(how or {}))
    store.run(capture(keys, Capture(this, found)))
    return found[0].id if found else ""


BAD = {"prompt": verdict("block", "quarantine")}
"""For ``how``: a text that a person must decide on."""
