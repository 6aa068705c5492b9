"""The training of MemoryBot's ranker: torch, one thread, deterministic; only the learner imports this.

Each new row is asked for by noisy views of its own prompt and should come first among the nearest rows. The optimiser
is fresh in each update; a leash pulls the weights to the parent's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from learner.bots.memory_ranker import BOUNDS, Float, Query, features, overlap, words
from learner.bots.memory_rows import Row, RowTable

HYPER: Mapping[str, Any] = {
    "steps": 20,
    "rate": 0.02,
    "leash": 0.5,
    "views": 3,
    "noise": 0.6,
    "top_k": 24,
    "queries_max": 256,
}


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread with deterministic algorithms, and put both settings back."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(mode=deterministic)


def fit(weights: Float, batch: Sequence[tuple[Float, int]], hyper: Mapping[str, Any]) -> Float:
    """Return the weights after the steps that make the wanted row of each ``(features, position)`` come first.

    The steps are Adam's (Kingma and Ba, 2015), written out, so that no release's choice of a fused kernel changes them.
    """
    if not batch:
        return weights
    with one_thread():
        start = torch.tensor(weights.tolist(), dtype=torch.float32)
        low, high = (torch.tensor(side, dtype=torch.float32) for side in zip(*BOUNDS, strict=True))
        moved = start.clone().requires_grad_()
        mean, square = torch.zeros_like(start), torch.zeros_like(start)
        inputs = [(torch.from_numpy(np.array(matrix, np.float32)), wanted) for matrix, wanted in batch]
        for step in range(1, int(hyper["steps"]) + 1):
            losses = [torch.logsumexp(matrix @ moved, 0) - (matrix @ moved)[wanted] for matrix, wanted in inputs]
            loss = torch.stack(losses).mean() + float(hyper["leash"]) * ((moved - start) ** 2).sum()
            (slope,) = torch.autograd.grad(loss, [moved])
            with torch.no_grad():
                mean = 0.9 * mean + 0.1 * slope
                square = 0.999 * square + 0.001 * slope**2
                towards = (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
                moved.sub_(float(hyper["rate"]) * towards).clamp_(low, high)
        return np.array(moved.detach().tolist(), np.float32)


def views(
    table: RowTable, first: int, rows: Sequence[Row], embeddings: Float, seed: int, hyper: Mapping[str, Any]
) -> list[tuple[Float, int]]:
    """Return the features of noisy views of the new rows' prompts, with the position of the wanted row.

    ``first`` is the table's position of ``rows[0]``. A view is the prompt's embedding with seeded noise, and its words
    with some left out, so that it is never an exact match.
    """
    draw = np.random.Generator(np.random.PCG64(seed))
    batch: list[tuple[Float, int]] = []
    for number, row in enumerate(rows):
        for _ in range(int(hyper["views"])):
            query = _view(row, embeddings[number], draw, float(hyper["noise"]))
            if len(batch) >= int(hyper["queries_max"]):
                return batch
            found = table.nearest(query.embedding, int(hyper["top_k"]))
            if first + number not in found:
                continue
            near = [table.row(at) for at in found]
            batch.append((features(query, table, found, near), found.index(first + number)))
    return batch


def _view(row: Row, embedding: Float, draw: np.random.Generator, amount: float) -> Query:
    noisy = embedding + amount * draw.standard_normal(len(embedding)).astype(np.float32) / np.sqrt(
        np.float32(len(embedding))
    )
    noisy = (noisy / np.linalg.norm(noisy)).astype(np.float32)
    kept = [word for word in words(row.prompt) if draw.random() < 0.7]
    return Query(text=" ".join(kept), embedding=noisy, context=noisy)


def canary() -> str:
    """Return the sha256 of a fixed small training: the numeric fingerprint of this machine's arithmetic."""
    ramp = np.linspace(-1.0, 1.0, 8 * 7, dtype=np.float32).reshape(8, 7)
    matrices = [(np.cos(ramp * (step + 1)).astype(np.float32), step % 8) for step in range(4)]
    weights = fit(np.array([low for low, _ in BOUNDS], np.float32) + np.float32(0.05), matrices, HYPER)
    product = np.cos(np.outer(np.arange(64), np.arange(384))).astype(np.float32) @ np.full(384, 0.1, np.float32)
    return hashlib.sha256(weights.tobytes() + product.tobytes() + str(overlap(("a",), ("a", "b"))).encode()).hexdigest()
