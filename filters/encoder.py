"""One ONNX session: a text to its embedding and its toxicity logits in one pass."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf, NoSuchFile
from tokenizers import Tokenizer

from filters.emoji import has_emoji, named
from filters.errors import WeightsError
from filters.models.source import ENCODER, FOLDER, sha256_of
from filters.normalise import encodable
from filters.types import Embedding
from filters.units import Unit, chains, split

MAX_TOKENS = 510  # 512 positions less the two special tokens
CLS, SEP = 101, 102
WORD_LENGTH, WORDS_KEPT = 24, 1 << 15
"""Of words no longer than this, this many are remembered with how many tokens they are."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass over units gives.

    Attributes
    ----------
    embedding
        (384,), unit length: the whole of what was read. Zero where it was not asked for and an early layer settled all.
    means
        (units, 384), rows of unit length, or zero.
    logits
        (units, labels).
    peaks
        A (tokens, labels) array per unit, its special tokens left out: what each token gives to the logits.
    """

    embedding: Embedding
    means: Embedding
    logits: npt.NDArray[np.float32]
    peaks: tuple[npt.NDArray[np.float32], ...]


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text's token ids, and for each the half-open range of characters it stands for."""

    ids: tuple[int, ...]
    ranges: tuple[tuple[int, int], ...]


def read_tokens(tokenizer: Tokenizer, text: str) -> Tokens:
    """Return the tokens of ``text`` as the encoder reads it."""
    plain = encodable(text)
    if not has_emoji(plain):
        found = tokenizer.encode(plain, add_special_tokens=False)
        return Tokens(tuple(found.ids), tuple(found.offsets))
    told, places = named(plain)
    found = tokenizer.encode(told, add_special_tokens=False)
    return Tokens(tuple(found.ids), tuple((places[start], places[end - 1] + 1) for start, end in found.offsets))


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
        self._count_word = lru_cache(WORDS_KEPT)(self._count)

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

    def tokens(self, text: str) -> Tokens:
        """Return the tokens of ``text`` without special ones, never cut; emoji are read by their names."""
        return read_tokens(self._tokenizer, text)

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of ``text``, special tokens not counted."""
        return self._count_word(text) if len(text) <= WORD_LENGTH else self._count(text)

    def _count(self, text: str) -> int:
        return len(self.tokens(text).ids)

    def run(self, units: Sequence[Sequence[int]], *, embed: bool = True) -> Pass:
        """Return the pass over consecutive units' token ids; a unit is read with those before it, never those after.

        Without ``embed`` the upper layers run only where a unit needs them; logits are the same either way.

        Raises
        ------
        ValueError
            There is no unit, or all together are longer than ``max_tokens``; take :func:`filters.units.chains`.
        """
        ids = [CLS, *(token for unit in units for token in (*unit, SEP))]
        if not units or len(ids) > MAX_TOKENS + 2:
            raise ValueError(
                f"{len(ids)} tokens in one pass, at most {MAX_TOKENS + 2}: split the text into units first"
            )
        lengths = [len(unit) + 1 for unit in units]
        numbers = np.repeat(np.arange(len(units)), [1 + lengths[0], *lengths[1:]])
        embedding, means, logits, peaks = self._session.run(
            ["embedding", "means", "logits", "peaks"],
            {"ids": np.array([ids], np.int64), "unit": numbers, "whole": np.array(embed)},
        )
        ends = 1 + np.cumsum(lengths)
        each = tuple(peaks[end - length : end - 1] for end, length in zip(ends, lengths, strict=True))
        return Pass(embedding[0], means, logits, each)

    def embed_many(self, texts: Sequence[str]) -> Embedding:
        """Return ``(n_texts, 384)`` float32, rows of unit length: the mean of a long text's chains, by their length."""
        return np.stack([self._embed(text) for text in texts]) if texts else np.zeros((0, self.dim), dtype=np.float32)

    def _embed(self, text: str) -> Embedding:
        whole = np.zeros(self.dim, dtype=np.float32)
        for chain in chains(split(text, self.count_tokens)) or [[Unit("", 0, 0, (), 0)]]:
            ids = [self.tokens(unit.text).ids for unit in chain]
            whole += self.run(ids).embedding * np.float32(1 + sum(map(len, ids)))
        return whole / np.linalg.norm(whole)


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
