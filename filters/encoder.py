"""One ONNX session: a text to its embedding and its toxicity logits in one pass."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf, NoSuchFile
from tokenizers import Tokenizer

from filters.errors import WeightsError
from filters.models.source import ENCODER, FOLDER, sha256_of
from filters.normalise import encodable
from filters.types import Embedding

MAX_TOKENS = 510  # 512 positions less the two special tokens
CLS, SEP = 101, 102


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass gives: ``embedding`` (384,), unit length; ``logits`` (2, labels), see ``filters.models.graph``."""

    embedding: Embedding
    logits: npt.NDArray[np.float32]


class OnnxEncoder:
    """The shipped encoder; one thread and one unpadded text a call, so that a text never meets its neighbours.

    Raises
    ------
    WeightsError
        ``encoder.onnx`` is missing or broken in ``folder``.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        path = folder / ENCODER
        if not path.is_file():
            raise WeightsError(f"{path} is missing; run `make setup` (it calls `python -m filters.models.build`)")
        try:
            self._session = onnxruntime.InferenceSession(path, _options(), providers=["CPUExecutionProvider"])
        except (Fail, InvalidGraph, InvalidProtobuf, NoSuchFile) as exc:
            raise WeightsError(f"{path} cannot be loaded; remove it and run `make setup`") from exc
        self.version = sha256_of(path)  # the tokenizer is inside
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.labels: tuple[str, ...] = tuple(json.loads(metadata["labels"]))
        self._tokenizer = Tokenizer.from_str(metadata["tokenizer"])
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return 384

    @property
    def max_tokens(self) -> int:
        """How many tokens one pass takes, special tokens not counted."""
        return MAX_TOKENS

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Token to id, frequent words first: the words that :mod:`filters.normalise` knows."""
        found: dict[str, int] = self._tokenizer.get_vocab()
        return found

    def token_ids(self, text: str) -> list[int]:
        """Return the ids of ``text`` without special tokens, never cut."""
        return list(self._tokenizer.encode(encodable(text), add_special_tokens=False).ids)

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of ``text``, special tokens not counted."""
        return len(self.token_ids(text))

    def run(self, ids: Sequence[int], context: Sequence[int] = ()) -> Pass:
        """Return the pass over ``context`` and ``ids``, of which only ``ids`` are judged.

        Raises
        ------
        ValueError
            Both together are longer than ``max_tokens``; split the text with :mod:`filters.units`.
        """
        embedding, logits = self._run(["embedding", "logits"], ids, context)
        return Pass(embedding[0], logits)

    def features(self, text: str, max_tokens: int) -> npt.NDArray[np.float32]:
        """Return the heads' input over the first tokens of ``text``; only of a file that was built without heads."""
        found: npt.NDArray[np.float32] = self._run(["features"], self.token_ids(text)[:max_tokens], ())[0][0]
        return found

    def embed_many(self, texts: Sequence[str]) -> Embedding:
        """Return ``(n_texts, 384)`` float32, rows of unit length; raises ValueError for a text over ``max_tokens``."""
        rows = [self._run(["embedding"], self.token_ids(text), ())[0][0] for text in texts]
        return np.stack(rows) if rows else np.zeros((0, self.dim), dtype=np.float32)

    def _run(self, outputs: list[str], ids: Sequence[int], context: Sequence[int]) -> list[Any]:
        length = len(ids) + len(context)
        if length > MAX_TOKENS:
            raise ValueError(f"{length} tokens in one pass, at most {MAX_TOKENS}: split the text into units first")
        row = np.array([[CLS, *context, *ids, SEP]], dtype=np.int64)
        start = np.array([1 + len(context)], dtype=np.int64)
        return list(self._session.run(outputs, {"ids": row, "start": start}))


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
