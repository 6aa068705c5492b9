"""Scoring off the event loop: deadlines that really abandon the work, a bounded queue, a breaker, a canary.

A filter that raises, hangs or is absent gives *unscored* with its reason; what that means is the policy's business.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from filters.types import Scores
from guard.errors import OverloadedError
from guard.metrics import Metrics

T = TypeVar("T")


class NotScoredError(Exception):
    """The work was not done; ``kind`` is one of the below. The caller makes it *unscored*.

    ``waited`` (no thread was free in time), ``timeout``, ``breaker``, ``raised``, ``too_long`` (over ``max_units``).
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


def absent(error: NotScoredError, direction: str) -> Scores:
    """Return the scores of a text that was not scored: coverage 0, with the reason."""
    return Scores(filter="scoring", version="1", coverage=0.0, error=f"{error.kind}: {error.detail} ({direction})")


@dataclass(frozen=True, slots=True)
class ScoringLimits:
    """``timeout_s`` is what one pass may wait for a thread, and may take there; ``queue`` how many may wait.

    ``max_units`` bounds the units of a request's new texts, and of a choice of its reply.
    """

    threads: int = 1
    queue: int = 64
    timeout_s: float = 2.0
    max_units: int = 2000
    breaker_failures: int = 5
    breaker_open_s: float = 5.0


class Breaker:
    """Stop trying after ``failures`` in a row, for ``open_s`` seconds; then let one trial through."""

    def __init__(self, failures: int, open_s: float, monotonic: Callable[[], float]) -> None:
        self._failures, self._open_s, self._monotonic = failures, open_s, monotonic
        self._in_a_row = 0
        self._closed_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether work is refused now."""
        return self._in_a_row >= self._failures and self._monotonic() < self._closed_at

    def admit(self) -> bool:
        """Return whether work may be tried; once the breaker's time is over, one trial at a time may."""
        if self._in_a_row < self._failures:
            return True
        if self.is_open:
            return False
        self._closed_at = self._monotonic() + self._open_s
        return True

    def succeeded(self) -> None:
        """Note a success: the breaker closes."""
        self._in_a_row = 0

    def failed(self) -> None:
        """Note a failure; the last of a row opens the breaker."""
        self._in_a_row += 1
        if self._in_a_row >= self._failures:
            self._closed_at = self._monotonic() + self._open_s


@dataclass(slots=True, eq=False)
class _Job:
    run: Callable[[], None]
    future: Future[object]
    began_s: float | None = None
    lost: bool = False


class Threads:
    """A few daemon threads over one queue. A thread that hangs is written off and replaced, up to as many again."""

    def __init__(self, count: int) -> None:
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._count = count
        self.lost = 0
        for _ in range(count):
            self._start()

    @property
    def waiting(self) -> int:
        """Jobs that no thread has taken yet."""
        return len(self._jobs)

    @property
    def exhausted(self) -> bool:
        """Whether no thread is left that could take a job."""
        return self.lost >= 2 * self._count

    def submit(self, work: Callable[[], T]) -> tuple[_Job, Future[T]]:
        """Queue ``work`` and return its job with its future."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            job.began_s = time.monotonic()
            try:
                result = work()
            except Exception as exc:  # noqa: BLE001 - the edge of foreign filters; it reaches whoever awaits
                future.set_exception(exc)
            else:
                future.set_result(result)

        job = _Job(run, future)  # type: ignore[arg-type]
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        return job, future

    def withdraw(self, job: _Job) -> bool:
        """Take back a job that has not begun; return whether it had not."""
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
            return job.future.cancel()

    def abandon(self, job: _Job) -> None:
        """Give up on a job: never started, or its thread is written off until it comes back."""
        if self.withdraw(job):
            return
        with self._changed:
            if job.future.done() or job.lost:
                return
            job.lost = True
            self.lost += 1
            replace = self.lost <= self._count
        if replace:
            self._start()

    def stop(self) -> None:
        """Let idle threads end; one that hangs is a daemon and ends with the process."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _start(self) -> None:
        threading.Thread(target=self._loop, name="tayguard-scoring", daemon=True).start()

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    return
                job = self._jobs.popleft()
            job.run()
            with self._changed:
                if job.lost:
                    self.lost -= 1
                    if self.lost < self._count:
                        return  # a replacement already works in this thread's place


class Scoring:
    """Run scoring work within its deadline; ``monotonic`` gives seconds."""

    def __init__(self, limits: ScoringLimits, metrics: Metrics, monotonic: Callable[[], float]) -> None:
        self.limits = limits
        self.breaker = Breaker(limits.breaker_failures, limits.breaker_open_s, monotonic)
        self._metrics = metrics
        self._threads = Threads(limits.threads)

    def check_queue(self) -> None:
        """Raise :class:`OverloadedError` when too many texts wait; asked as a request starts, never in mid-reply."""
        if self._threads.waiting >= self.limits.queue:
            raise OverloadedError("too many messages are waiting to be scored; try again soon", retry_after="1")

    async def run(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns, or raise :class:`NotScoredError` at the deadline, whatever the thread does.

        Let ``work`` be one pass: work that is no longer wanted is not stopped, and its thread is lost only if it hangs.
        """
        if self._threads.exhausted or not self.breaker.admit():
            raise self._failed("breaker", "scoring keeps failing and is not tried for a while")
        job, future = self._threads.submit(work)
        done = asyncio.wrap_future(future)
        self._observe()
        try:
            await self._in_time(job, done)
            result = done.result()
        except asyncio.CancelledError:
            if not self._threads.withdraw(job):
                asyncio.get_running_loop().call_later(self.limits.timeout_s, self._threads.abandon, job)
            raise
        except NotScoredError:
            raise
        except Exception as exc:  # the edge of foreign filters: unscored, with the kind
            self.breaker.failed()
            raise self._failed("raised", f"a filter failed with {type(exc).__name__}") from exc
        finally:
            done.cancel()
        self.breaker.succeeded()
        self._observe()
        return result

    async def _in_time(self, job: _Job, done: asyncio.Future[T]) -> None:
        """Wait until the work is done; it may wait as long as it may take, and only work that began can hang."""
        limit_s = left_s = self.limits.timeout_s
        while left_s > 0:
            await asyncio.wait({done}, timeout=left_s)
            if done.done():
                return
            if self._threads.withdraw(job):
                raise self._failed("waited", f"no thread was free to score it within {limit_s:g} s")
            now_s = time.monotonic()
            left_s = limit_s - (now_s - (job.began_s or now_s))
        self._threads.abandon(job)
        self.breaker.failed()
        raise self._failed("timeout", f"not scored within {limit_s:g} s")

    def _failed(self, kind: str, detail: str) -> NotScoredError:
        self._metrics.scoring_failures.labels(kind).inc()
        self._observe()
        return NotScoredError(kind, detail)

    def _observe(self) -> None:
        self._metrics.queue.set(self._threads.waiting)
        self._metrics.scoring_lost.set(self._threads.lost)
        self._metrics.breaker_open.set(int(self.breaker.is_open))

    def stop(self) -> None:
        """Let the threads end."""
        self._threads.stop()


def merged(many: Sequence[Sequence[Scores]]) -> tuple[Scores, ...]:
    """Return one :class:`Scores` per filter over several texts: the worst of each label, the smallest coverage.

    Spans are those of the first text; they would point nowhere in another.

    >>> merged([[Scores("f", "1", {"toxicity": 0.1})], [Scores("f", "1", {"toxicity": 0.9})]])[0].values
    {'toxicity': 0.9}
    """
    found: dict[str, Scores] = {}
    for scores in (one for text in many for one in text):
        before = found.get(scores.filter)
        found[scores.filter] = scores if before is None else _worse(before, scores)
    return tuple(found.values())


def _worse(a: Scores, b: Scores) -> Scores:
    values = {**a.values, **{k: v for k, v in b.values.items() if v > a.values.get(k, -1.0)}}
    return Scores(
        filter=a.filter,
        version=a.version,
        values=values,
        coverage=min(a.coverage, b.coverage),
        absent={**a.absent, **b.absent},
        error=a.error or b.error,
        spans=a.spans,
        variants={k: v for k, v in {**a.variants, **b.variants}.items() if k in values},
        embedding=a.embedding,
    )
