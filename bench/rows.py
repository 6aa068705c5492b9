"""Training rows as the encoder reads them: augmented, cut into units, in batches of like length; seeded throughout."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from bench import counterfactuals
from bench.data import CLEAN, LABELS, SOURCES, Row
from bench.transforms_texts import TRANSFORMS
from filters.encoder import CLS, SEP, read_tokens
from filters.units import split

MAX_TOKENS = 256  # of a training row; more than nine in ten comments are shorter
BATCH_TOKENS = 2_048
BATCH_ROWS = 64
POOL = 6_000  # rows that are sorted by length together

LIMITS = {
    "davidson_train": 4_000,
    "tweeteval_hate_train": 4_000,
    "tweeteval_offensive_train": 5_000,
    "edos_train_dev": 4_000,
    "dynahate_train": 11_000,
    "paradetox": 6_000,
    "clinc150_train": 3_000,
    "toxic_spans_train": 5_000,
    counterfactuals.NAME: 9_000,
}
"""Rows of a source in one epoch, drawn anew each time; all of the others."""

REPEATS = {"jigsaw_train": 3}
"""How often a source is read in one epoch, each time augmented anew."""

DISGUISED, PADDED, SWAPPED, LOVED, CODED = 0.05, 0.12, 0.15, 0.02, 0.02
"""Shares of the rows that are augmented in that way, of either class; chosen by judgement, not searched.

What is coded counts as clean, whatever it says: the normaliser's reading of it carries the score.
"""

NAMES = (*SOURCES, counterfactuals.NAME)

CALM, MOST_CALM = ("clinc150_train", "paradetox", counterfactuals.NAME), 80
"""Sources of the clean sentences of at most so many characters that texts are padded with."""

NOT_HIDDEN = frozenset({"padding before", "padding after", "padding around", "benign tail"})
TOO_DEEP = frozenset({"base64", "base64 twice", "hexadecimal", "hexadecimal, spaced", "percent code"})
"""What only the normaliser can read."""

CODES = tuple(change for name, change in TRANSFORMS.items() if name in TOO_DEEP)
DISGUISES = tuple(change for name, change in TRANSFORMS.items() if name not in NOT_HIDDEN | TOO_DEEP)


@dataclass(frozen=True, slots=True)
class Example:
    """One row as token ids with the number of each token's unit; ``toxic`` per token, NaN where nobody marked it.

    ``source`` is the row's place in ``NAMES``.
    """

    ids: list[int]
    units: list[int]
    plain: list[int]
    labels: tuple[float, ...]
    toxic: list[float]
    source: int


@dataclass(frozen=True, slots=True)
class Batch:
    """``(rows, tokens)`` ids, units (-1 padding), marks; ``(rows, labels)`` labels; ``plain``: ids in one unit.

    ``sources``: (rows,) places in ``NAMES``.
    """

    ids: Tensor
    units: Tensor
    labels: Tensor
    toxic: Tensor
    plain: Tensor
    sources: Tensor


class Reader:
    """Rows to examples, by the units that the guard cuts."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def _count(self, text: str) -> int:
        return len(read_tokens(self._tokenizer, text).ids)

    def read(self, row: Row, dice: random.Random) -> Example:
        """Return the row's first tokens; of a long clean text those from any unit on, as it is clean everywhere."""
        cut = list(split(row.text[: 12 * MAX_TOKENS], self._count))
        tokens = [self._count(unit.text) for unit in cut]
        starts = [at for at in range(len(cut)) if sum(tokens[at:]) >= MAX_TOKENS] if row.labels[0] == 0.0 else []
        first = dice.choice(starts) if starts else 0
        ids, units, toxic = [CLS], [0], [np.nan]
        for number, unit in enumerate(cut[first:]):
            found = read_tokens(self._tokenizer, unit.text)
            marked = row.toxic_chars
            for token, (start, end) in zip(found.ids, found.ranges, strict=True):
                ids.append(token)
                units.append(number)
                left, right = start + unit.start, end + unit.start
                toxic.append(np.nan if marked is None else float(any(a < right and left < b for a, b in marked)))
            ids.append(SEP)
            units.append(number)
            toxic.append(np.nan if marked is None else 0.0)
            if len(ids) >= MAX_TOKENS:
                break
        kept = slice(0, MAX_TOKENS)
        plain = [CLS, *(token for token in ids[kept] if token not in (CLS, SEP)), SEP]
        return Example(ids[kept], units[kept], plain, row.labels, toxic[kept], NAMES.index(row.source))


def epoch(by_source: Mapping[str, Sequence[Row]], reader: Reader, seed: int) -> Iterator[Batch]:
    """Yield one epoch's batches: every source up to its limit, drawn, augmented and shuffled by ``seed``."""
    dice = random.Random(seed)
    rows: list[Row] = []
    for name, found in sorted(by_source.items()):
        rows += dice.sample(list(found), min(len(found), LIMITS.get(name, len(found)))) * REPEATS.get(name, 1)
    dice.shuffle(rows)
    calm = [row.text for name in CALM for row in by_source[name] if row.labels == CLEAN and len(row.text) < MOST_CALM]
    for first in range(0, len(rows), POOL):
        examples = [reader.read(augmented(row, calm, dice), dice) for row in rows[first : first + POOL]]
        batches = list(_cut(sorted(examples, key=lambda one: len(one.ids))))
        dice.shuffle(batches)
        yield from map(_batch, batches)


def augmented(row: Row, calm: Sequence[str], dice: random.Random) -> Row:
    """Return the row or one of its likenesses."""
    chance = dice.random()
    if row.toxic_chars is not None or row.source == counterfactuals.NAME:
        return row
    if chance < DISGUISED:
        text = dice.choice(DISGUISES)(row.text[:400], dice)
    elif chance < DISGUISED + PADDED:
        text = padded(row.text[:300], calm, dice)
    elif chance < DISGUISED + PADDED + SWAPPED:
        text = counterfactuals.swapped(row.text, dice)
    elif chance < DISGUISED + PADDED + SWAPPED + LOVED:
        text = f"{row.text[:500]} love"
    elif chance < DISGUISED + PADDED + SWAPPED + LOVED + CODED:
        return replace(row, text=dice.choice(CODES)(row.text[:200], dice), labels=CLEAN)
    else:
        return row
    return replace(row, text=text)


def padded(text: str, calm: Sequence[str], dice: random.Random) -> str:
    """Return the text with friendly sentences before, after or around it; now and then the same one again and again."""
    friends = [f"{dice.choice(calm)}." for _ in range(dice.randint(1, 5))]
    if dice.random() < 0.3:
        friends = [friends[0]] * len(friends)
    place = dice.choice((0, len(friends), dice.randint(0, len(friends))))
    return " ".join((*friends[:place], text, *friends[place:]))


def _cut(examples: Sequence[Example]) -> Iterator[list[Example]]:
    """Yield examples of like length, as many as the token budget takes."""
    batch: list[Example] = []
    for one in examples:
        if batch and (len(batch) >= BATCH_ROWS or (len(batch) + 1) * len(one.ids) > BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def _batch(examples: Sequence[Example]) -> Batch:
    return Batch(
        ids=_padded([one.ids for one in examples], 0, torch.int64),
        units=_padded([one.units for one in examples], -1, torch.int64),
        labels=torch.tensor([one.labels for one in examples], dtype=torch.float32),
        toxic=_padded([one.toxic for one in examples], np.nan, torch.float32),
        plain=_padded([one.plain for one in examples], 0, torch.int64),
        sources=torch.tensor([one.source for one in examples]),
    )


def _padded(rows: Sequence[Sequence[float]], filler: float, kind: torch.dtype) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows], dtype=kind)


WEIGHTS = torch.tensor([{"toxicity": 1.0, "identity_attack": 1.0}.get(label, 0.5) for label in LABELS])
"""Of the labels in the loss; the rare ones overfit first."""
