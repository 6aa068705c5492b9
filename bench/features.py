"""The encoder's features of many texts, kept in bench/out so that a second run takes seconds."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from filters.encoder import OnnxEncoder
from filters.models.build import build

CHUNK = 1_000
TOKENS = 64


class Features:
    """Features of texts, first unit's worth of tokens each; ``folder`` keeps the encoder and what was computed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        build(folder, heads=None)
        self._encoder = OnnxEncoder(folder)
        self._folder = folder

    def of(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return ``(n_texts, features)`` float32."""
        chunks = [texts[first : first + CHUNK] for first in range(0, len(texts), CHUNK)]
        return np.concatenate([self._chunk(chunk, f"{i + 1}/{len(chunks)}") for i, chunk in enumerate(chunks)])

    def _chunk(self, texts: Sequence[str], place: str) -> npt.NDArray[np.float32]:
        key = hashlib.sha256("\0".join([self._encoder.version, *texts]).encode("utf-8", "replace")).hexdigest()
        path = self._folder / f"{key[:32]}.npy"
        if not path.is_file():
            rows = np.stack([self._encoder.features(text, TOKENS) for text in texts])
            np.save(path, rows.astype(np.float16))
        print(f"features {place}", file=sys.stderr, flush=True)
        return np.load(path).astype(np.float32)
