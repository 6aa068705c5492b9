"""Build ``encoder.onnx``, one file with encoder, heads and tokenizer: ``python -m filters.models.build``.

Only the heads are committed; the encoder's weights come from where ``--source`` says. Quick when nothing changed.
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
from filters.models import graph, source
from filters.models.source import ENCODER, FOLDER

HEADS = "heads.safetensors"
HEADS_MANIFEST = "heads.json"


def recipe(heads: Path | None) -> str:
    """Return the hash of everything that shapes the file: weights, tokenizer, heads and the code that writes it."""
    parts = [source.WEIGHTS_SHA256, source.TOKENIZER_SHA256, source.sha256_of(Path(graph.__file__))]
    parts.append(source.sha256_of(heads) if heads else "features")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def build(folder: Path, where: str = "wheel", *, heads: Path | None = FOLDER / HEADS) -> Path:
    """Write ``encoder.onnx`` into ``folder`` unless it is there already; return its path.

    Without ``heads`` the file gives features instead of logits, for the training of heads.

    Raises
    ------
    WeightsError
        Weights, tokenizer or heads are missing or not the expected ones; nothing is written.
    """
    target = folder / ENCODER
    wanted = recipe(heads) if heads is None or heads.is_file() else ""
    stamp = folder / f"{ENCODER}.recipe"
    if (
        wanted
        and target.is_file()
        and stamp.is_file()
        and stamp.read_text().split() == [wanted, source.sha256_of(target)]
    ):
        return target
    weights: graph.Weights | None = None
    labels: tuple[str, ...] = ()
    if heads is not None:
        weights, labels = load_heads(heads)
    files = source.find(where)
    tokenizer = (files / "tokenizer.json").read_text(encoding="utf-8")
    metadata = {"labels": json.dumps(labels), "tokenizer": tokenizer}
    model = graph.build(load_file(files / "model.safetensors"), weights, metadata)
    _write(target, model)
    _write(stamp, f"{wanted} {source.sha256_of(target)}\n".encode())
    return target


def load_heads(path: Path) -> tuple[graph.Weights, tuple[str, ...]]:
    """Return the heads' tensors and labels, checked against the manifest beside them."""
    manifest = path.with_name(HEADS_MANIFEST)
    if not path.is_file() or not manifest.is_file():
        raise WeightsError(f"{path} or its manifest is missing; restore both from the repository")
    stated = json.loads(manifest.read_text(encoding="utf-8"))
    if source.sha256_of(path) != stated.get("sha256"):
        raise WeightsError(f"{path} is not the file that {manifest.name} describes; restore both from the repository")
    try:
        tensors = {name: value.astype(np.float32) for name, value in load_file(path).items()}
    except SafetensorError as exc:
        raise WeightsError(f"{path} cannot be read; restore it from the repository") from exc
    return tensors, tuple(stated["labels"])


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
