"""The learner's process: keeps the buffer in order, makes updates, seals the log, at low priority.

Before it says that it is ready it makes what the workers need: the first policy and the factory version.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from filters.errors import FilterError, PolicyError
from guard.logs import configure
from guard.process import Boot, Ready, read_boot, report
from guard.settings import ConfigurationError, Settings
from guard.wiring import Wiring, first_policy, now_ms
from learner import lease, pointer, policies
from learner.errors import ConflictError, LearnerError, StoreError
from learner.leftovers import remove_leftovers

LOG = logging.getLogger("tayguard.learner")
_NICE = 10
_LONGEST_PAUSE_S = 60.0
_LEASE_MS = 120_000
_DAY_MS = 86_400_000


def prepare(wiring: Wiring) -> tuple[str, ...]:
    """Apply the first policy, write the factory version, and return what a person should know.

    A policy file that differs from the live policy is only reported: a restart changes nothing that a person decided.
    """
    settings = wiring.settings
    policy = first_policy(settings)
    call = policies.apply(
        wiring.keys, policy.id, policy.to_json(), actor="serve", reason="first start", at_ms=now_ms(), how="first"
    )
    applied = wiring.store.run(call)
    notes: tuple[str, ...] = ()
    if applied.policy != policy.id and Path(settings.policy.file).is_file():
        notes = (
            f"{settings.policy.file} differs from the live policy; `tayguard policy diff` shows how, apply it or not",
        )
    if settings.upstream.external:
        wiring.routes.ensure_live()
    else:
        wiring.versions.ensure_factory(wiring.bot)
    return notes


class Rounds:
    """What the learner does again and again; ``wait`` pauses for seconds and returns True at a stop."""

    def __init__(self, wiring: Wiring, wait: Callable[[float], bool]) -> None:
        self._wiring = wiring
        self._wait = wait
        self._tidied_ms = 0

    def run(self) -> None:
        """Go round until the stop; an error is logged, and the pause after it grows."""
        interval = self._wiring.settings.learning.interval_s
        pause = min(1.0, interval)
        while not self._wait(pause):
            try:
                self.round()
                pause = interval
            except (LearnerError, FilterError) as exc:
                pause = min(max(pause, 0.5) * 2, _LONGEST_PAUSE_S)
                fields = {"error": type(exc).__name__, "detail": str(exc), "again_in_s": pause}
                LOG.error("round_failed", extra={"fields": fields})  # noqa: TRY400 - one line, no text of strangers

    def round(self) -> None:
        """Sweep, finish an unfinished rollback, make the update that is due, seal the log; the lease is given back."""
        wiring = self._wiring
        wiring.buffer.sweep()
        wiring.end_dead_lease()
        token = wiring.store.run(lease.acquire(wiring.keys, wiring.holder, now_ms(), _LEASE_MS))
        if token is None:
            return
        try:
            try:
                self._learn(wiring.settings)
            finally:
                self._settle()
                self._tidy()
        finally:
            wiring.store.run(lease.release(wiring.keys, wiring.holder, now_ms()))

    def _learn(self, settings: Settings) -> None:
        if settings.upstream.external or settings.learning.mode == "off":
            self._wiring.rollback.resume()
            return
        outcome = self._wiring.trainer.run_once()
        if outcome.kind not in ("nothing", "frozen"):
            fields = {"kind": outcome.kind, "version": outcome.version, "samples": len(outcome.samples)}
            LOG.info("update", extra={"fields": fields})

    def _settle(self) -> None:
        wiring = self._wiring
        token = wiring.store.run(lease.acquire(wiring.keys, wiring.holder, now_ms(), _LEASE_MS))
        if token is None:
            return
        try:
            wiring.settler.settle(token)
        except ConflictError as exc:
            LOG.warning("not_settled", extra={"fields": {"detail": str(exc)}})
            return
        wiring.index.update()

    def _tidy(self) -> None:
        """Remove files that nothing names, once a day."""
        wiring, now = self._wiring, now_ms()
        if wiring.settings.upstream.external or now - self._tidied_ms < _DAY_MS:
            return
        if wiring.store.run(lease.acquire(wiring.keys, wiring.holder, now, _LEASE_MS)) is None:
            return
        self._tidied_ms = now
        removed = remove_leftovers(wiring.data_dir, wiring.store.run(pointer.read(wiring.keys)), wiring.updates, now)
        if removed:
            LOG.info("tidied", extra={"fields": {"removed": removed}})


def _boot_up(boot: Boot) -> Wiring | None:
    wiring = Wiring(boot.tree, boot.redis_url)
    try:
        notes = prepare(wiring)
    except PolicyError as exc:
        file = boot.settings["policy"]["file"]
        report(boot, Ready(error=f"{file}: {exc}; mend it, then `tayguard policy check {file}`", fault=2))
    except ConfigurationError as exc:
        report(boot, Ready(error=str(exc), fault=2))
    except (LearnerError, FilterError) as exc:
        report(boot, Ready(error=str(exc)))
    else:
        report(boot, Ready(notes=notes))
        return wiring
    return None


def main() -> int:
    """Run until SIGTERM."""
    boot = read_boot()
    os.nice(_NICE)
    configure(boot.settings["log"]["level"].upper())
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    wiring = _boot_up(boot)
    if wiring is None:
        return 1
    try:
        Rounds(wiring, stop.wait).run()
    finally:
        try:
            wiring.store.run(lease.release(wiring.keys, wiring.holder, now_ms()))
        except StoreError:
            LOG.warning("lease_not_released", extra={"fields": {"holder": wiring.holder}})
        wiring.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
