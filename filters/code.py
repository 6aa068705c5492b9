"""The hash of the code between a text and its scores, so that scores of other code are known to be others."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

SHAPING = ("emoji", "encoder", "guardian", "merge", "toxicity", "units")


@cache
def code_version() -> str:
    """Return sha256 over the modules that read, split, undo and merge."""
    folder = Path(__file__).parent
    files = sorted([*(folder / f"{name}.py" for name in SHAPING), *folder.glob("normalise*.py")])
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()
