"""The name by which a process holds the lease, and whether the process behind a name is gone.

A name says boot, pid namespace, pid and start time, so it is never given twice on one machine.
"""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")


def my_name() -> str:
    """Return this process's name."""
    return f"{_place()}:{os.getpid()}:{_started(os.getpid())}"


def is_dead(name: str) -> bool:
    """Return whether the process of a name is known to have ended: only where it ran under our eyes, else False.

    >>> is_dead(my_name()), is_dead("elsewhere:1:2")
    (False, False)
    """
    place, _, rest = name.partition(":")
    pid, _, started = rest.partition(":")
    return place == _place() and pid.isdigit() and started != "" and _started(int(pid)) != started


def _place() -> str:
    """Return the boot and the pid namespace: within both a pid means one process at a time."""
    boot = (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{boot}/{(_PROC / 'self/ns/pid').stat().st_ino}"


def _started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; empty where none runs."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
