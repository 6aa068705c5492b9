"""The lease of the one learner, with a fencing token: what a learner of before still sends is refused by the token."""

from __future__ import annotations

from learner.store import Call, Keys


def acquire(keys: Keys, holder: str, now_ms: int, ttl_ms: int) -> Call[int | None]:
    """Take or renew the lease: its fencing token, or None while another holder has it.

    The token stays the same until the lease is given back or another holder takes it, also where it had lapsed.
    """
    return Call("lease", (keys.prefix,), ("acquire", holder, now_ms, ttl_ms), lambda answer: int(answer) or None)


def release(keys: Keys, holder: str, now_ms: int) -> Call[bool]:
    """Give the lease back; False when ``holder`` no longer had it."""
    return Call("lease", (keys.prefix,), ("release", holder, now_ms, 0), lambda answer: bool(int(answer)))


def holder_of(keys: Keys) -> Call[str]:
    """Read who has the lease, lapsed or not; empty where nobody took it."""
    return Call("lease", (keys.prefix,), ("holder", "", 0, 0), str)
