"""The detoxify package behind the filter protocol: any of its five models, verified before anything is unpickled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filters.errors import WeightsError
from filters.merge import Running
from filters.models.source import sha256_of
from filters.normalise import encodable
from filters.types import Item, Scores
from filters.units import Unit, split

MODELS = {
    "original": "c1212f89",
    "unbiased": "c7548aa0",
    "multilingual": "0b549669",
    "original-small": "0e1d6498",
    "unbiased-small": "c8519128",
}
"""Model to the beginning of its checkpoint's sha256, as in its published file name (torch hub's convention)."""

MULTILINGUAL = ("en", "fr", "es", "it", "pt", "tr", "ru")
"""What detoxify's authors say that their XLM-R model was trained for."""

ARCHITECTURES = frozenset({"Albert", "Bert", "Roberta", "XLMRoberta"})
WINDOW_TOKENS = 400  # detoxify cuts at 512 without a word; what a window's own tokenisation adds stays far below that
MAX_TOKENS = 510
SHORTEST_HASH = 8


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified checkpoint: ``arch`` are the arguments of detoxify's own loader."""

    arch: dict[str, Any]
    labels: tuple[str, ...]
    state: dict[str, Any]
    sha256: str


class DetoxifyFilter:
    """Scores of one detoxify model; it reads a text alone, in windows where it is long.

    Parameters
    ----------
    model
        One of ``MODELS``, which is downloaded once if ``checkpoint`` is not given, or ``""`` for a file of your own.
    checkpoint
        The file of the weights.
    sha256
        What the file's sha256 must begin with, at least 8 digits; a named model brings its own.
    config_folder
        Folder with the configuration and tokenizer; without it they come from the hub.

    Raises
    ------
    WeightsError
        Nothing is named, the file is missing, its hash is another, or it is no checkpoint of detoxify's.
    """

    def __init__(
        self,
        model: str = "original",
        *,
        checkpoint: Path | None = None,
        sha256: str = "",
        config_folder: Path | None = None,
        name: str = "detoxify",
    ) -> None:
        path, expected = locate(model, checkpoint, sha256)
        found = read_checkpoint(path, expected)
        self._name = name
        self._version = found.sha256
        self._labels = found.labels
        self._languages = MULTILINGUAL if found.arch["model_name"].startswith("XLMRoberta") else ("en",)
        self._model = _load(found, config_folder)

    @property
    def name(self) -> str:
        """The instance's name."""
        return self._name

    @property
    def version(self) -> str:
        """sha256 of the checkpoint."""
        return self._version

    @property
    def memoryless(self) -> bool:
        """Whether the scores depend on the item's text alone."""
        return True

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that the model was trained for, as detoxify's authors say."""
        return self._languages

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's labels: six, or seven with ``sexual_explicit``."""
        return self._labels

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of ``text``, special tokens not counted."""
        return len(
            self._model.tokenizer(encodable(text), add_special_tokens=False, truncation=False, verbose=False)[
                "input_ids"
            ]
        )

    def score_many(self, items: Sequence[Item]) -> list[Scores]:
        """Return one :class:`Scores` per item, in order, each text in a call of its own."""
        return [self._score(item.text) for item in items]

    def _score(self, text: str) -> Scores:
        running = Running(self._name, self._version)
        for window in self._windows(encodable(text)):
            running.add(window, self._score_window(window.text))
        return running.scores

    def _windows(self, text: str) -> list[Unit]:
        """Return the text in pieces that detoxify does not cut."""
        whole = Unit(text, 0, len(text), (), self.count_tokens(text))
        if whole.tokens <= MAX_TOKENS:
            return [whole]
        windows: list[Unit] = []
        for unit in split(text, self.count_tokens):
            last = windows[-1] if windows else None
            if last and last.tokens + unit.tokens <= WINDOW_TOKENS:
                windows[-1] = Unit(last.text + unit.text, last.start, unit.end, (), last.tokens + unit.tokens)
            else:
                windows.append(unit)
        return windows

    def _score_window(self, text: str) -> Scores:
        if not text.strip():
            return Scores(self._name, self._version, dict.fromkeys(self._labels, 0.0))
        tokens = self.count_tokens(text)
        predicted = self._model.predict([text])  # a number for each label, not a list, for a list of one
        values = {label: float(predicted[label]) for label in self._labels}
        coverage = 1.0 if tokens <= MAX_TOKENS else MAX_TOKENS / tokens
        return Scores(self._name, self._version, values, coverage=coverage)


def locate(model: str, checkpoint: Path | None, sha256: str) -> tuple[Path, str]:
    """Return the checkpoint's path and what its sha256 begins with; a named model is downloaded if it is not here.

    Raises
    ------
    WeightsError
        The name is unknown, the hash is missing, or the download failed.
    """
    if model and model not in MODELS:
        raise WeightsError(
            f"no detoxify model {model!r:.80}; take one of {', '.join(MODELS)}, or '' and a checkpoint file"
        )
    expected = sha256.lower() or MODELS.get(model, "")
    if len(expected) < SHORTEST_HASH:
        raise WeightsError(
            f"give at least {SHORTEST_HASH} digits of the checkpoint's sha256: it is checked before it is read"
        )
    if checkpoint is not None:
        return checkpoint, expected
    if not model:
        raise WeightsError("name a detoxify model or give a checkpoint file")
    return _download(model, expected), expected


def _download(model: str, expected: str) -> Path:
    """Return the named checkpoint in torch's own cache, fetched if it is not there."""
    import torch
    from detoxify.detoxify import MODEL_URLS

    url = MODEL_URLS[model]
    path = Path(str(torch.hub.get_dir())) / "checkpoints" / str(url).rsplit("/", 1)[1]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=expected, progress=False)
        except (OSError, RuntimeError) as exc:
            raise WeightsError(f"{url} could not be fetched; put the file at {path}, or give it as checkpoint") from exc
    return path


def read_checkpoint(path: Path, expected: str) -> Checkpoint:
    """Return what a checkpoint holds, once its hash was found right; only tensors and plain values are unpickled.

    Raises
    ------
    WeightsError
        The file is missing, is another one, or holds something else.
    """
    import torch

    if not path.is_file():
        raise WeightsError(f"{path} is missing; give the path of a detoxify checkpoint")
    found = sha256_of(path)
    if not found.startswith(expected):
        raise WeightsError(f"{path} has sha256 {found}, expected {expected}; remove the file and fetch it again")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251  (hash checked, tensors only)
        arch = dict(loaded["config"]["arch"]["args"])
        classes = [str(name) for name in loaded["config"]["dataset"]["args"]["classes"]]
        state = dict(loaded["state_dict"])
    except Exception as exc:  # the edge to a foreign file, which may break the reader in any way
        raise WeightsError(f"{path} is not a detoxify checkpoint: {type(exc).__name__}") from exc
    for key, ending in (("model_name", "ForSequenceClassification"), ("tokenizer_name", "Tokenizer")):
        given = str(arch.get(key))
        if not given.endswith(ending) or given.removesuffix(ending) not in ARCHITECTURES:
            raise WeightsError(
                f"{path} names {given!r:.80} as {key}; detoxify's models are {', '.join(sorted(ARCHITECTURES))}"
            )
    renamed = {"toxic": "toxicity", "identity_hate": "identity_attack", "severe_toxic": "severe_toxicity"}
    return Checkpoint(arch, tuple(renamed.get(name, name) for name in classes), state, found)


def _load(found: Checkpoint, config_folder: Path | None) -> Any:  # noqa: ANN401  (detoxify ships no types)
    """Return detoxify's own object, made by its own loader from the checkpoint that we read."""
    from detoxify.detoxify import Detoxify, get_model_and_tokenizer

    arch = {**found.arch, "model_type": str(config_folder)} if config_folder else found.arch
    whole = Detoxify.__new__(Detoxify)  # its constructor would read the file again, without a check
    try:
        whole.model, whole.tokenizer = get_model_and_tokenizer(**arch, state_dict=found.state)
    except (OSError, RuntimeError, TypeError, ValueError, AttributeError) as exc:
        raise WeightsError(
            f"detoxify could not build the model; give config_folder, or check the file: {exc!s:.200}"
        ) from exc
    whole.class_names = list(found.labels)
    whole.device = "cpu"
    return whole
