"""Turn trained weights into the shipped files: int8, calibrated, with a manifest that says where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from bench import counterfactuals
from bench.data import CLEAN, LABELS, SOURCES, Row, calibration, read, training
from bench.metrics import calibration_error, platt
from filters.encoder import OnnxEncoder
from filters.models import build, graph, source
from filters.toxicity import ToxicityFilter
from filters.types import Item

Weights = dict[str, graph.Array]


EXITS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1)
"""Scores under all labels of which the lower layers may settle a unit; the highest that loses next to nothing holds."""

MATTERS, LOST = 0.3, 0.002
"""Of the texts whose full score reaches ``MATTERS`` under some label, at most the share ``LOST`` may stop early."""


def ship(trained: Path, data: Path, folder: Path, facts: Mapping[str, object]) -> None:
    """Write weights and manifest into ``folder``, calibrated on rows that the training did not see, and build them."""
    weights: Weights = dict(load_file(trained))
    rows = calibration(data)
    asked = [*rows, *_tune_rows(data)]
    late, early = (np.array(logits_of(_scratch(trained, weights, exits), asked)) for exits in (-np.inf, np.inf))
    truth = np.array([row.labels for row in rows])
    found, soon = ([platt(some[: len(rows), at], truth[:, at]) for at in range(len(LABELS))] for some in (late, early))
    late_scores, early_scores = _scores(late, found), _scores(early, soon)
    settled = exit_score(early_scores, late_scores)
    scaled = scale(scale(weights, "heads", found), "early", soon)
    scaled["exit.logits"] = np.full(len(LABELS), np.log(settled / (1 - settled)), np.float32)
    alarms = late_scores.max(axis=1) >= MATTERS
    stopped = early_scores.max(axis=1) < settled
    by_source, dropped = training(data)
    manifest = {
        "encoder": {"name": "sentence-transformers/all-MiniLM-L6-v2", "sha256": source.WEIGHTS_SHA256},
        "licence": "Apache-2.0 (the encoder's); the data's licences are below",
        "data": {
            name: {
                "source": SOURCES[name][0],
                "licence": SOURCES[name][1],
                "rows": len(rows_of),
                "apart": dropped[name],
            }
            for name, rows_of in by_source.items()
        }
        | {
            counterfactuals.NAME: {
                "source": "written for this project",
                "licence": "the project's",
                "rows": len(counterfactuals.sentences()),
                "apart": 0,
            }
        },
        "training": facts,
        "calibration": {
            "rows": len(rows),
            "slope_and_offset": {
                name: {label: [round(v, 4) for v in pair] for label, pair in zip(LABELS, pairs, strict=True)}
                for name, pairs in (("late", found), ("early", soon))
            },
            "toxicity_error_on_its_own_rows": round(calibration_error(late_scores[: len(rows), 0], truth[:, 0]), 4),
        },
        "early_exit": {
            "score": settled,
            "texts": len(asked),
            "stopped": int(stopped.sum()),
            "texts_that_matter": int(alarms.sum()),
            "of_them_stopped": int((alarms & stopped).sum()),
        },
    }
    write(scaled, folder, manifest)


def write(weights: Weights, folder: Path, manifest: Mapping[str, object]) -> None:
    """Write weights with their manifest, and the encoder built from them."""
    save_file(build.packed(weights), folder / build.TRAINED)
    stated = {"sha256": source.sha256_of(folder / build.TRAINED), "labels": list(LABELS), **manifest}
    (folder / build.MANIFEST).write_text(json.dumps(stated, indent=2) + "\n", encoding="utf-8")
    build.build(folder, trained=folder / build.TRAINED)


def _scratch(trained: Path, weights: Weights, exits: float) -> Path:
    """Return a folder with the encoder built uncalibrated, every unit settled early or none."""
    folder = trained.parent / ("late" if exits < 0 else "early")
    folder.mkdir(exist_ok=True)
    write({**weights, "exit.logits": np.full(len(LABELS), exits, np.float32)}, folder, {})
    return folder


def _tune_rows(data: Path) -> list[Row]:
    """Return hate and plain talk from the tune sets; their labels are not looked at."""
    hate = [row["text"] for name in ("dynahate_eval", "hatemoji_build_validation") for row in read(data, name)]
    talk = [row["message"] for row in islice(read(data, "topical_chat_valid_freq"), 1_000)]
    return [Row(text, CLEAN, "tune") for text in (*hate, *talk)]


def _scores(logits: graph.Array, found: list[tuple[float, float]]) -> graph.Array:
    slopes, offsets = np.array(found).T
    scores: graph.Array = 1 / (1 + np.exp(-(logits * slopes + offsets)))
    scores[:, 0] = scores.max(axis=1)  # as the filter does
    return scores


def exit_score(early: graph.Array, late: graph.Array) -> float:
    """Return the highest of ``EXITS`` that stops at most the share ``LOST`` of the texts that matter."""
    matters = late.max(axis=1) >= MATTERS
    fitting = [score for score in EXITS if (early[matters].max(axis=1) < score).mean() <= LOST]
    return max(fitting, default=0.0) or EXITS[0] / 10


def scale(weights: Weights, name: str, found: list[tuple[float, float]]) -> Weights:
    """Return weights whose logits are scaled and moved; both halves of the head are, the offset is the level's."""
    slopes, offsets = np.array(found, dtype=np.float32).T
    bias = weights[f"{name}.bias"] * np.tile(slopes, 2)
    bias[: len(offsets)] += offsets
    return {**weights, f"{name}.weight": weights[f"{name}.weight"] * np.tile(slopes, 2)[:, None], f"{name}.bias": bias}


def logits_of(folder: Path, rows: list[Row]) -> list[list[float]]:
    """Return each text's logits: its worst unit's, as the guard reads it."""
    scorer = ToxicityFilter(OnnxEncoder(folder), as_read=True)
    found = []
    for row in rows:
        (scores,) = scorer.score_many([Item(row.text)])
        held = np.clip([scores.values[label] for label in LABELS], 1e-13, 1 - 1e-13)
        found.append([float(value) for value in np.log(held / (1 - held))])
    return found
