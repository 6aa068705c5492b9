"""How good scores are: areas under the curve with intervals, calibration error, the scaling that mends it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
BINS = 15
RESAMPLES = 1_000
FEW_POSITIVES = 30


def auc(scores: Array, truth: Array) -> float:
    """Return the area under the ROC curve, ties counted half; NaN where a class is missing.

    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
    0.75
    """
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    positive = truth == 1
    n, m = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")


def interval(
    measure: Callable[[Array, Array], float], scores: Array, truth: Array, seed: int = 2016
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a measure over rows (percentile method, Efron 1979)."""
    dice = np.random.default_rng(seed)
    draws = (dice.integers(0, len(truth), len(truth)) for _ in range(RESAMPLES))
    found = [measure(scores[rows], truth[rows]) for rows in draws]
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return float(low), float(high)


def reliability(scores: Array, truth: Array) -> list[tuple[int, float, float]]:
    """Return rows, mean score and share of positives of each equal-mass bin."""
    order = np.argsort(scores, kind="stable")
    return [(len(part), float(scores[part].mean()), float(truth[part].mean())) for part in np.array_split(order, BINS)]


def calibration_error(scores: Array, truth: Array) -> float:
    """Return the expected calibration error over equal-mass bins (Nixon et al. 2019).

    >>> round(calibration_error(np.full(30, 0.8), np.tile([0, 1], 15)), 3)
    0.3
    """
    bins = reliability(scores, truth)
    return sum(rows * abs(said - true) for rows, said, true in bins) / len(truth)


def platt(logits: Array, truth: Array) -> tuple[float, float]:
    """Return slope and offset that make logits calibrated ones (Platt 1999); few positives move the offset alone."""
    slope, offset = 1.0, 0.0
    steep = truth.sum() >= FEW_POSITIVES
    for _ in range(100):  # Newton's method on a convex loss
        said = 1 / (1 + np.exp(-np.clip(slope * logits + offset, -30, 30)))
        weight, miss = np.maximum(said * (1 - said), 1e-9), said - truth
        inputs = np.stack([logits, np.ones_like(logits)]) if steep else np.ones((1, len(logits)))
        step = np.linalg.solve((inputs * weight) @ inputs.T + 1e-6 * np.eye(len(inputs)), inputs @ miss)
        slope, offset = (slope - step[0], offset - step[-1]) if steep else (slope, offset - step[-1])
    return float(slope), float(offset)
