"""Where measured figures are kept: ``bench/out/NAME.json`` by each bench, ``bench/figures.json`` for the README."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OUT = Path("bench/out")
KEPT = Path(__file__).with_name("figures.json")

Figures = dict[str, Any]


def save(name: str, figures: Mapping[str, Any]) -> Path:
    """Write one bench's figures; return where."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.json"
    path.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def kept() -> Figures:
    """Return the committed figures, by the bench's name."""
    found: Figures = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    return found


def take(names: tuple[str, ...]) -> Figures:
    """Put what was measured last into the committed figures; return all of them."""
    figures = kept()
    for name in names:
        path = OUT / f"{name}.json"
        if path.is_file():
            figures[name] = json.loads(path.read_text(encoding="utf-8"))
    KEPT.write_text(json.dumps(figures, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    return figures
