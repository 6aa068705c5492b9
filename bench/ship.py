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
from filters.models.nodes import Array
from filters.toxicity import ToxicityFilter
from filters.types import Item

Weights = dict[str, Array]


EXITS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0)
"""A stage may settle a unit whose score of each label is under this part of the label's share; the highest that loses
next to nothing holds. One score for all labels would spoil the order of the rare ones."""

SETTLING = tuple(stage for stage in graph.STAGES if stage != "heads")
"""The stages that may stop a unit."""

MATTERS, LOST = 0.3, 0.002
"""Of the texts whose last score reaches ``MATTERS`` under some label, a stage may stop at most the share ``LOST``."""


def ship(trained: Path, data: Path, folder: Path, facts: Mapping[str, object]) -> None:
    """Write weights and manifest into ``folder``, calibrated on rows that the training did not see, and build them."""
    weights: Weights = dict(load_file(trained))
    rows = calibration(data)
    asked = [*rows, *_tune_rows(data)]
    truth = np.array([row.labels for row in rows])
    found, scores = {}, {}
    for stage in graph.STAGES:
        logits = np.array(logits_of(_scratch(trained, weights, stage), asked))
        found[stage] = [platt(logits[: len(rows), at], truth[:, at]) for at in range(len(LABELS))]
        scores[stage] = _scores(logits, found[stage])
        weights = scale(weights, stage, found[stage])
    late = scores["heads"]
    shares = truth.mean(axis=0)
    exits = {stage: exit_part(scores[stage] / shares, late) * shares for stage in SETTLING}
    for stage, settled in exits.items():
        weights[f"{stage}.exit"] = np.log(settled / (1 - settled)).astype(np.float32)
    alarms = late.max(axis=1) >= MATTERS
    stopped = {stage: (scores[stage] < settled).all(axis=1) for stage, settled in exits.items()}
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
                stage: {label: [round(v, 4) for v in pair] for label, pair in zip(LABELS, pairs, strict=True)}
                for stage, pairs in found.items()
            },
            "toxicity_error_on_its_own_rows": round(calibration_error(late[: len(rows), 0], truth[:, 0]), 4),
        },
        "stages": {
            stage: {
                "layers": graph.STAGES[stage],
                "scores": {label: round(float(score), 5) for label, score in zip(LABELS, settled, strict=True)},
                "texts": len(asked),
                "stopped": int(stopped[stage].sum()),
                "texts_that_matter": int(alarms.sum()),
                "of_them_stopped": int((alarms & stopped[stage]).sum()),
            }
            for stage, settled in exits.items()
        },
    }
    write(weights, folder, manifest)


def write(weights: Weights, folder: Path, manifest: Mapping[str, object]) -> None:
    """Write weights with their manifest, and the encoder built from them."""
    save_file(build.packed(weights), folder / build.TRAINED)
    stated = {"sha256": source.sha256_of(folder / build.TRAINED), "labels": list(LABELS), **manifest}
    (folder / build.MANIFEST).write_text(json.dumps(stated, indent=2) + "\n", encoding="utf-8")
    build.build(folder, trained=folder / build.TRAINED)


def _scratch(trained: Path, weights: Weights, stage: str) -> Path:
    """Return a folder with an encoder that settles every unit at ``stage``."""
    folder = trained.parent / stage
    folder.mkdir(exist_ok=True)
    ends = {f"{name}.exit": np.full(len(LABELS), np.inf if name == stage else -np.inf, np.float32) for name in SETTLING}
    write({**weights, **ends}, folder, {})
    return folder


def _tune_rows(data: Path) -> list[Row]:
    """Return hate and plain talk from the tune sets; their labels are not looked at."""
    hate = [row["text"] for name in ("dynahate_eval", "hatemoji_build_validation") for row in read(data, name)]
    talk = [row["message"] for row in islice(read(data, "topical_chat_valid_freq"), 1_000)]
    return [Row(text, CLEAN, "tune") for text in (*hate, *talk)]


def _scores(logits: Array, found: list[tuple[float, float]]) -> Array:
    slopes, offsets = np.array(found).T
    scores: Array = 1 / (1 + np.exp(-(logits * slopes + offsets)))
    scores[:, 0] = scores.max(axis=1)  # as the filter does
    return scores


def exit_part(parts: Array, late: Array) -> float:
    """Return the highest of ``EXITS`` that stops at most the share ``LOST`` of the texts that matter.

    ``parts`` are a stage's scores as parts of the labels' shares, ``late`` the last stage's scores.
    """
    matters = late.max(axis=1) >= MATTERS
    fitting = [part for part in EXITS if (parts[matters] < part).all(axis=1).mean() <= LOST]
    return max(fitting, default=EXITS[0] / 10)


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
