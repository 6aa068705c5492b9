"""What a process and the supervisor that started it say to each other: a boot document down, one ready line up."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from guard import settings as settings_of
from guard.settings import Settings

METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder in which several workers keep their counters."""

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Boot:
    """What a child learns from its parent, over its standard input so that no secret shows in a process list.

    ``socket`` and ``ready`` are inherited file descriptors; ``socket`` is -1 for the learner. ``loopback`` says whether
    only this machine can reach the server: then the key in the data folder counts.
    """

    settings: Mapping[str, Any]
    redis_url: str
    parent: int
    ready: int
    socket: int = -1
    index: int = 0
    loopback: bool = True

    def to_json(self) -> str:
        """Return the document that :func:`read_boot` reads."""
        return json.dumps(asdict(self))

    @property
    def tree(self) -> Settings:
        """The settings, as the parent validated them."""
        return settings_of.from_json(json.dumps(self.settings))


@dataclass(frozen=True, slots=True)
class Ready:
    """What a child says once. ``error`` is one line saying what to do; empty when it is ready."""

    error: str = ""
    fault: int = 1
    notes: tuple[str, ...] = ()

    @classmethod
    def from_line(cls, line: bytes) -> Ready:
        """Return what a ready line says; an empty one is a child that died."""
        if not line:
            return cls(error="it ended before it was ready; its last log lines say why")
        row = json.loads(line)
        return cls(str(row["error"]), int(row["fault"]), tuple(row["notes"]))


def read_boot() -> Boot:
    """Return the boot document on standard input, and tie this process's life to its parent's."""
    boot = Boot(**json.loads(sys.stdin.buffer.readline()))
    die_with(boot.parent)
    return boot


def report(boot: Boot, ready: Ready) -> None:
    """Say to the parent that this process is ready, or why it cannot be."""
    with os.fdopen(boot.ready, "w", encoding="utf-8") as pipe:
        pipe.write(json.dumps(asdict(ready)) + "\n")


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, by ``kill -9`` too; end now if it has died already.

    Nothing is lost by the kill: what was acknowledged is in Redis, and files are written aside and renamed.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def one_thread(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which numeric libraries use one thread each."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return {**environ, **dict.fromkeys(names, "1"), "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}


def key_path(data_dir: Path) -> Path:
    """Return where the embedded key lies."""
    return data_dir / "key"
