"""Train the toxicity heads: ``python -m bench.train_heads ../shared/data`` writes ``filters/models/heads.*``.

Linear heads on frozen features of the encoder, one label apart from the other, missing labels masked; Platt-scaled on
a fold that the head did not see. No text of the data reaches the files. Then ``python -m bench.thresholds
../shared/data`` measures the policy.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save

from bench.data import LABELS, SOURCES, jigsaw, training
from bench.features import TOKENS, Features
from filters.models import build, source

Array = npt.NDArray[np.float64]
SEED = 2016
FOLDS = 3
DECAYS = (3e-2, 1e-1, 3e-1)  # L2 on standardised features; chosen per label on the held-out fold
STEPS = 40


def fit(x: torch.Tensor, y: torch.Tensor, decay: float) -> torch.Tensor:
    """Return ``(features + 1,)`` weights of one logistic regression; the last is the bias."""
    weights = torch.zeros(x.shape[1] + 1, requires_grad=True)
    share = y.mean().clamp(1e-4, 1 - 1e-4)
    with torch.no_grad():
        weights[-1] = torch.log(share / (1 - share))
    optimiser = torch.optim.LBFGS([weights], max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(x @ weights[:-1] + weights[-1], y)
        loss = loss + decay * weights[:-1].square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return weights.detach()


def auc(scores: Array, truth: Array) -> float:
    """Return the area under the ROC curve, ties counted half."""
    order = np.argsort(scores, kind="stable")
    _, inverse, counts = np.unique(scores[order], return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2.0)[inverse]
    positive = truth[order] == 1
    n, m = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")


def platt(logits: Array, truth: Array) -> tuple[float, float]:
    """Return slope and offset that make a logit a calibrated one (Platt 1999)."""
    found = fit(torch.tensor(logits[:, None], dtype=torch.float32), torch.tensor(truth, dtype=torch.float32), 1e-6)
    return float(found[0]), float(found[1])


def train_label(
    x: torch.Tensor, y: Array, natural: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float32], dict[str, float]]:
    """Return one label's calibrated weights on standardised features, and what the held-out third measured.

    The regularisation is chosen, and the calibration fitted, on rows of natural sources.
    """
    known = torch.tensor(~np.isnan(y))
    rows, truth = x[known], torch.tensor(y[~np.isnan(y)], dtype=torch.float32)
    held = torch.tensor(np.random.default_rng(SEED).integers(0, FOLDS, len(truth)) == 0)
    seen = held.numpy() & natural[~np.isnan(y)]
    judged = truth.numpy()[seen]
    best: tuple[float, float, Array] = (-1.0, 0.0, np.zeros(0))
    for decay in DECAYS:
        weights = fit(rows[~held], truth[~held], decay)
        logits = (rows[torch.tensor(seen)] @ weights[:-1] + weights[-1]).numpy()
        best = max(best, (auc(logits, judged), decay, logits), key=lambda one: one[0])
    area, decay, logits = best
    slope, offset = platt(logits, judged)
    weights = fit(rows, truth, decay).numpy()
    weights = weights * slope
    weights[-1] += offset
    figures = {"rows": len(truth), "positives": int(truth.sum()), "decay": decay, "auc_held_out": round(area, 4)}
    print(y.shape, figures, flush=True)
    return weights.astype(np.float32), figures


def train(data: Path, cache: Path, folder: Path, scale: float) -> dict[str, object]:
    """Write the heads and their manifest into ``folder``; return the manifest."""
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    rows, dropped = training(data, SEED, scale)
    features = Features(cache)
    x = features.of([row.text for row in rows])
    y = np.array([row.labels for row in rows])
    natural = np.array([row.source in {"jigsaw_train", "clinc150_train", "convabuse_train"} for row in rows])
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
    standard = torch.tensor((x - mean) / spread)
    found = [train_label(standard, y[:, column], natural) for column in range(len(LABELS))]
    weight = np.stack([weights[:-1] / spread for weights, _ in found])
    bias = np.array([weights[-1] for weights, _ in found]) - weight @ mean
    tensors = {"weight": weight.astype(np.float16), "bias": bias.astype(np.float32)}
    content = save(tensors)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / build.HEADS).write_bytes(content)
    kept = jigsaw(data, report=True)[:1_000]
    logits = features.of([row.text for row in kept]) @ weight.T + bias
    truth = np.array([row.labels for row in kept])
    used = {row.source for row in rows}
    manifest: dict[str, object] = {
        "sha256": source.sha256_of(folder / build.HEADS),
        "labels": list(LABELS),
        "encoder": {
            "name": "sentence-transformers/all-MiniLM-L6-v2",
            "sha256": source.WEIGHTS_SHA256,
            "licence": "Apache-2.0",
        },
        "data": {
            name: {
                "source": SOURCES[name][0],
                "licence": SOURCES[name][1],
                "rows": sum(r.source == name for r in rows),
                "dropped_as_in_tune_or_report": dropped[name],
            }
            for name in sorted(used)
        },
        "seed": SEED,
        "training": {
            "folds": FOLDS,
            "tokens": TOKENS,
            "scale": scale,
            "command": "python -m bench.train_heads ../shared/data",
        },
        "metrics": {
            "by_label": {label: figures for label, (_, figures) in zip(LABELS, found, strict=True)},
            "report_rows": len(kept),
            "report_auc_first_64_tokens": {
                label: round(auc(logits[:, i], truth[:, i]), 4) for i, label in enumerate(LABELS)
            },
        },
    }
    write_manifest(folder, manifest)
    return manifest


def write_manifest(folder: Path, manifest: dict[str, object]) -> None:
    """Write ``heads.json``."""
    (folder / build.HEADS_MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=source.FOLDER)
    parser.add_argument("--cache", type=Path, default=Path("bench/out/features"))
    parser.add_argument("--scale", type=float, default=1.0, help="rows of each source, as a share of the usual number")
    chosen = parser.parse_args()
    manifest = train(chosen.data, chosen.cache, chosen.out, chosen.scale)
    build.build(chosen.out, heads=chosen.out / build.HEADS)
    print(json.dumps(manifest["metrics"], indent=2))


if __name__ == "__main__":
    main()
