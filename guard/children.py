"""One child process of the supervisor: started, awaited, restarted with growing pauses, stopped."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from guard.process import Boot, Ready, one_thread

LOG = logging.getLogger("tayguard.supervisor")
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0
"""A child that lived this long has its pause forgotten."""


class Child:
    """A process that reads a boot document and says when it is ready.

    It has a session of its own, so that Ctrl-C reaches the supervisor alone, which then stops its children in order.
    """

    def __init__(self, name: str, command: Sequence[str], boot: Boot, environ: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._command = list(command)
        self._boot = boot
        self._environ = dict(environ or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._line = b""
        self._pause_s = _FIRST_PAUSE_S
        self._started = 0.0
        self._again_at = 0.0

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process else None

    @property
    def pipe(self) -> int:
        """The descriptor its ready line comes over; -1 when it has come."""
        return self._pipe

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process; its ready line is still to come."""
        self._close_pipe()
        reading, writing = os.pipe()
        boot = replace(self._boot, ready=writing)
        inherited = [writing, *([boot.socket] if boot.socket >= 0 else [])]
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=inherited,
            start_new_session=True,
            env=one_thread({**os.environ, **self._environ}),
        )
        os.close(writing)
        self._pipe, self._line, self._started = reading, b"", time.monotonic()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:
                stdin.write(boot.to_json().encode() + b"\n")

    def read_ready(self) -> Ready | None:
        """Return what the child said once its line is whole (or its end of the pipe closed); else None."""
        piece = os.read(self._pipe, 65_536)
        self._line += piece
        if piece and not self._line.endswith(b"\n"):
            return None
        self._close_pipe()
        return Ready.from_line(self._line)

    def tend(self) -> None:
        """Start the process again if it died, after a pause that doubles while it keeps dying."""
        now = time.monotonic()
        if self.alive:
            return
        if not self._again_at:
            code = self._process.returncode if self._process else None
            if now - self._started > _STEADY_S:
                self._pause_s = _FIRST_PAUSE_S
            LOG.error("child_died", extra={"fields": {"child": self.name, "code": code, "again_in_s": self._pause_s}})
            self._again_at = now + self._pause_s
            self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        elif now >= self._again_at:
            self._again_at = 0.0
            self.start()
            LOG.info("child_restarted", extra={"fields": {"child": self.name, "pid": self.pid}})

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self._process is not None and self.alive:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float) -> None:
        """Wait for its end; kill it when ``timeout_s`` is over."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, timeout_s))
        except subprocess.TimeoutExpired:
            LOG.warning("child_killed", extra={"fields": {"child": self.name}})
            self._process.kill()
            self._process.wait()
        self._close_pipe()

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
