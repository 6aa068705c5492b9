"""How near the sentence embedding is to the original: cosine, likeness of pairs, nearest neighbours' intents."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from tokenizers import Tokenizer

from bench.data import read
from filters.encoder import OnnxEncoder
from filters.models import source
from filters.models.source import FOLDER

Rows = npt.NDArray[np.float32]

SEED = 5
TEXTS = 1_500  # of a set; their pairs number a million
NEIGHBOURS = 10
BATCH = 64
SETS = {"clinc150_val": "text", "banking77_train": "text", "topical_chat_valid_freq": "message"}


class Original:
    """all-MiniLM-L6-v2 in float32, pooled as its authors do."""

    def __init__(self) -> None:
        files = source.find()
        self._model: Any = transformers.BertModel.from_pretrained(files)
        self._model.eval()  # type: ignore[no-untyped-call]
        self._tokenizer = Tokenizer.from_file(str(files / "tokenizer.json"))
        self._tokenizer.enable_truncation(510)
        self._tokenizer.no_padding()

    def embed_many(self, texts: Sequence[str]) -> Rows:
        """Return rows of unit length; texts of like length share a batch."""
        ids = [one.ids for one in self._tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
        found = np.zeros((len(ids), self._model.config.hidden_size), dtype=np.float32)
        for first in range(0, len(order), BATCH):
            chosen = order[first : first + BATCH]
            width = max(len(ids[at]) for at in chosen)
            padded = torch.tensor([[*ids[at], *[0] * (width - len(ids[at]))] for at in chosen])
            mask = torch.tensor([[1.0] * len(ids[at]) + [0.0] * (width - len(ids[at])) for at in chosen])
            with torch.inference_mode():
                states = self._model(padded, attention_mask=mask).last_hidden_state
            mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            found[chosen] = torch.nn.functional.normalize(mean).numpy()
        return found


def spearman(ours: Rows, theirs: Rows) -> float:
    """Return the rank correlation of all pairs' cosines."""
    above = np.triu_indices(len(ours), 1)
    ranks = [np.argsort(np.argsort((rows @ rows.T)[above])).astype(np.float64) for rows in (ours, theirs)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def neighbours(known: Rows, intents: Sequence[str], asked: Rows, truth: Sequence[str]) -> float:
    """Return how often the nearest known texts, each weighted by its cosine, name the right intent."""
    names, codes = np.unique(np.array(intents), return_inverse=True)
    right = 0
    for row, intent in zip(asked, truth, strict=True):
        likeness = known @ row
        nearest = np.argpartition(-likeness, NEIGHBOURS)[:NEIGHBOURS]
        votes = np.bincount(codes[nearest], weights=likeness[nearest], minlength=len(names))
        right += names[votes.argmax()] == intent
    return right / len(truth)


def measure(data: Path, folder: Path = FOLDER, rows: int = 0) -> dict[str, object]:
    """Return the likeness to the original on each set, and both models' accuracy on clinc150; ``rows`` limits all."""
    torch.set_num_threads(2)
    ours, original = OnnxEncoder(folder), Original()
    figures: dict[str, object] = {}
    for name, column in SETS.items():
        texts = [row[column] for row in read(data, name) if row[column].strip()]
        texts = random.Random(SEED).sample(texts, min(len(texts), rows or TEXTS))
        left, right = ours.embed_many(texts), original.embed_many(texts)
        cosine = float((left * right).sum(axis=1).mean())
        figures[name] = {"texts": len(texts), "cosine": round(cosine, 4), "spearman": round(spearman(left, right), 4)}
    known = list(read(data, "clinc150_train"))
    asked = list(read(data, "clinc150_val"))
    if rows:
        known, asked = random.Random(SEED).sample(known, 10 * rows), random.Random(SEED).sample(asked, rows)
    accuracy = {}
    for name, model in (("original", original), ("ours", ours)):
        embedded = [model.embed_many([row["text"] for row in part]) for part in (known, asked)]
        intents = [[row["intent"] for row in part] for part in (known, asked)]
        accuracy[name] = round(neighbours(embedded[0], intents[0], embedded[1], intents[1]), 4)
    return {**figures, "clinc150_intents": {"neighbours": NEIGHBOURS, "asked": len(asked), **accuracy}}
