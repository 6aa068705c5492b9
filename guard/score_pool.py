"""Processes that score lines side by side, their rows in the order of the lines, a bounded number in flight.

Processes, not threads, by measurement (`python -m bench.speed`): what is not the encoder's pass is Python and holds the
interpreter's lock. One thread speaks to all of them and never waits for one alone, so that neither a long text nor a
full pipe stops the others, and Ctrl-C finds nobody else.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Self, cast

from guard.cli_frame import CommandError
from guard.process import Ready, one_thread

COMMAND = (sys.executable, "-m", "guard.score_worker")

WINDOW_LINES = 256
WINDOW_BYTES = 4 * 1024 * 1024
"""In flight at most, in all: read and not yet given out. A longer line goes alone."""

DEPTH_LINES = 8
DEPTH_BYTES = 16 * 1024
"""At one process at most: enough that it never waits for us, so few that it never has work that another waits for."""

_BLOCK = 64 * 1024


class _Worker:
    """One process, what was asked of it, and what is on the way there and back."""

    def __init__(self, command: Sequence[str], post: bytes) -> None:
        # A group of its own: Ctrl-C is for the parent, which ends it. Its standard error is the parent's.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=one_thread(os.environ),
            process_group=0,
            bufsize=0,
        )
        self._stdin = cast("IO[bytes]", self._process.stdin)
        self._stdout = cast("IO[bytes]", self._process.stdout)
        self.input, self.output = self._stdin.fileno(), self._stdout.fileno()
        os.set_blocking(self.input, False)
        self.ready = False
        self.load_bytes = 0
        self._asked: deque[tuple[int, int]] = deque()
        self._unsent = bytearray(post)
        self._unread: list[bytes] = []

    @property
    def sending(self) -> bool:
        """Whether something is on the way to it that its pipe had no room for."""
        return bool(self._unsent)

    def takes(self, size: int) -> bool:
        """Return whether a line of ``size`` bytes may be given to it now."""
        if not self.ready or len(self._asked) >= DEPTH_LINES:
            return False
        return not self._asked or self.load_bytes + size <= DEPTH_BYTES

    def give(self, number: int, raw: bytes) -> None:
        """Send it a line."""
        self._asked.append((number, len(raw)))
        self.load_bytes += len(raw)
        self._unsent += raw + b"\n"
        self.send()

    def send(self) -> None:
        """Send what its pipe has room for."""
        try:
            while self._unsent:
                del self._unsent[: os.write(self.input, self._unsent[:_BLOCK])]
        except BlockingIOError:
            return
        except BrokenPipeError:
            raise self._gone() from None

    def receive(self) -> list[tuple[int, str]]:
        """Return the rows that came back, each with the number of its line; call it when there is something to read.

        Raises
        ------
        CommandError
            It could not start, or has ended.
        """
        block = os.read(self.output, _BLOCK)
        if not block:
            raise self._gone()
        *whole, rest = block.split(b"\n")
        if whole:
            whole[0] = b"".join((*self._unread, whole[0]))
            self._unread.clear()
        self._unread.extend([rest] if rest else [])
        if whole and not self.ready:
            self._begin(whole.pop(0))
        return [(self._answered(), row.decode("ascii") + "\n") for row in whole]

    def _begin(self, line: bytes) -> None:
        said = Ready.from_line(line)
        if said.error:
            raise CommandError(said.error, said.fault)
        self.ready = True

    def _answered(self) -> int:
        number, size = self._asked.popleft()
        self.load_bytes -= size
        return number

    def _gone(self) -> CommandError:
        status = self._process.wait()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return CommandError(f"a scoring process {how}: see what it said above, or run with --workers 1", 1)

    def end(self) -> None:
        """End it; there is nothing that it would lose."""
        self._process.kill()
        self._stdin.close()
        self._stdout.close()
        self._process.wait()


class Pool:
    """``count`` processes that start in the background; ``post`` is the first line that each is told.

    Close it, or leave its ``with`` block: the processes end then.
    """

    def __init__(self, count: int, post: bytes, command: Sequence[str] = COMMAND) -> None:
        self._queue: deque[tuple[int, bytes]] = deque()
        self._rows: dict[int, str] = {}
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._submitted = self._given_out = 0
        self._workers: list[_Worker] = []
        try:
            for _ in range(count):
                self._workers.append(_Worker(command, post))
        except OSError as exc:
            self.close()
            raise CommandError(f"a scoring process cannot start: {exc.strerror}; run with --workers 1", 1) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def ready(self) -> bool:
        """Whether every process can score; raises CommandError where one could not start."""
        if not all(worker.ready for worker in self._workers):
            self._turn(None, 0)
        return all(worker.ready for worker in self._workers)

    @property
    def in_flight(self) -> int:
        """Lines that were submitted and whose rows were not given out."""
        return self._submitted - self._given_out

    @property
    def has_room(self) -> bool:
        """Whether another line may be submitted."""
        return self.in_flight < WINDOW_LINES and self._bytes < WINDOW_BYTES

    def submit(self, raw: bytes) -> None:
        """Have a line scored; it holds no line break."""
        self._queue.append((self._submitted, raw))
        self._sizes.append(len(raw))
        self._bytes += len(raw)
        self._submitted += 1
        self._share()

    def rows(self) -> list[str]:
        """Return the rows that are there, up to the first line that is not scored yet."""
        found = []
        while self._given_out in self._rows:
            found.append(self._rows.pop(self._given_out))
            self._bytes -= self._sizes.popleft()
            self._given_out += 1
        return found

    def wait(self, also: int | None = None) -> bool:
        """Wait until a process has said something or ``also`` can be read; returns whether it can.

        Raises
        ------
        CommandError
            A process could not start, or has ended.
        """
        return self._turn(also, None)

    def close(self) -> None:
        """End the processes."""
        while self._workers:
            self._workers.pop().end()

    def _turn(self, also: int | None, timeout_ms: int | None) -> bool:
        poll = select.poll()
        for worker in self._workers:
            poll.register(worker.output, select.POLLIN)
            if worker.sending:
                poll.register(worker.input, select.POLLOUT)
        if also is not None:
            poll.register(also, select.POLLIN)
        spoke = {descriptor for descriptor, _ in poll.poll(timeout_ms)}
        for worker in self._workers:
            if worker.output in spoke:
                self._rows.update(worker.receive())
            if worker.input in spoke:
                worker.send()
        self._share()
        return also in spoke

    def _share(self) -> None:
        """Give waiting lines, in order, to the process that has least to do."""
        while self._queue:
            number, raw = self._queue[0]
            free = [worker for worker in self._workers if worker.takes(len(raw))]
            if not free:
                return
            self._queue.popleft()
            min(free, key=lambda worker: worker.load_bytes).give(number, raw)
