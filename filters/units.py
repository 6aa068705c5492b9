"""Closed units of a text, whole or as it streams: a sentence, or at most 64 tokens, with what stands left of it.

The cut looks at the characters only, never at where a piece ended, so any way of feeding a text gives the same units,
and the units put together are the text again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

UNIT_TOKENS = 64
CONTEXT_TOKENS = 128
WORD_WEIGHT = 96
"""A word is cut at this weight: WordPiece makes one unknown token of a word over 100 characters, and scores nothing."""

TERMINATORS = frozenset(".!?…。！？")
CLOSERS = frozenset("\"')]}»”’」』")
WIDE_TERMINATORS = frozenset("。！？")  # need no space after them


@dataclass(frozen=True, slots=True)
class Unit:
    """``text`` is ``[start, end)`` of the whole; ``context`` are the units of its chain that stand directly left of it.

    A chain is what one pass of the encoder reads: as long as a unit's context has at most 128 tokens it goes on, then
    the next unit begins a new one, with the unit before it as its first context.
    """

    text: str
    start: int
    end: int
    context: tuple[str, ...]
    tokens: int


class UnitSplitter:
    """Units of one text, in order, each as soon as it is closed.

    ``count_tokens`` must give no less for two words apart than for both together, as every sub-word tokenizer does.
    """

    def __init__(
        self,
        count_tokens: Callable[[str], int],
        *,
        unit_tokens: int = UNIT_TOKENS,
        context_tokens: int = CONTEXT_TOKENS,
    ) -> None:
        self._count = count_tokens
        self._unit_tokens = unit_tokens
        self._context_tokens = context_tokens
        self._start = 0
        self._text: list[str] = []  # characters of the open unit up to the last whole word
        self._tokens = 0
        self._word: list[str] = []  # the open word, with the whitespace before it
        self._weight = 0
        self._chain: list[Unit] = []

    def feed(self, piece: str) -> list[Unit]:
        """Return the units that ``piece`` closes."""
        closed: list[Unit] = []
        for character in piece:
            self._take(character, closed)
        return closed

    def close(self) -> list[Unit]:
        """Return what is left, as the last units; the splitter is done then."""
        closed: list[Unit] = []
        self._end_word(closed)
        self._end_unit(closed)
        return closed

    def _take(self, character: str, closed: list[Unit]) -> None:
        space = character.isspace()
        if self._weight and (space or self._ends_wide_sentence(character)):
            sentence = self._ends_sentence() if space else True
            self._end_word(closed)
            if sentence and character != "\n":
                self._end_unit(closed)
        self._word.append(character)
        if not space:
            self._weight += 1 if character.isascii() else 3  # a character decomposes into three at most
            if self._weight >= WORD_WEIGHT:
                self._end_word(closed)
                self._end_unit(closed)
        elif character == "\n" and self._text:
            self._text.extend(self._word)
            self._word.clear()
            self._end_unit(closed)
        elif len(self._word) >= WORD_WEIGHT:  # nothing but whitespace: keep what is open bounded
            self._text.extend(self._word)
            self._word.clear()
            if len(self._text) >= WORD_WEIGHT * self._unit_tokens:
                self._end_unit(closed)

    def _ends_sentence(self) -> bool:
        for character in reversed(self._word):
            if character in TERMINATORS:
                return True
            if character not in CLOSERS:
                return False
        return False

    def _ends_wide_sentence(self, following: str) -> bool:
        if following in TERMINATORS or following in CLOSERS:
            return False
        for character in reversed(self._word):
            if character in WIDE_TERMINATORS:
                return True
            if character not in CLOSERS:
                return False
        return False

    def _end_word(self, closed: list[Unit]) -> None:
        """Move the open word into the open unit, or into the next one where it does not fit."""
        if not self._word:
            return
        word = "".join(self._word)
        tokens = self._count(word)
        if self._tokens and self._tokens + tokens > self._unit_tokens:
            self._end_unit(closed, keep_word=True)
        if tokens > self._unit_tokens:
            self._cut_word(word, closed)
        else:
            self._text.append(word)
            self._tokens += tokens
        self._word.clear()
        self._weight = 0

    def _cut_word(self, word: str, closed: list[Unit]) -> None:
        """Cut a word of more tokens than a unit holds in halves until they fit."""
        half = len(word) // 2
        for part in (word[:half], word[half:]):
            tokens = self._count(part)
            if tokens > self._unit_tokens and len(part) > 1:
                self._cut_word(part, closed)
            else:
                self._text.append(part)
                self._tokens += tokens
                self._end_unit(closed)

    def _end_unit(self, closed: list[Unit], *, keep_word: bool = False) -> None:
        if not keep_word:
            self._weight = 0
        text = "".join(self._text)
        self._text.clear()
        if text:
            context = tuple(unit.text for unit in self._chain)
            unit = Unit(text, self._start, self._start + len(text), context, self._tokens)
            closed.append(unit)
            self._start = unit.end
            self._remember(unit)
        self._tokens = 0

    def _remember(self, unit: Unit) -> None:
        # A unit of invisible characters has no token, but takes its place: the context stays bounded.
        if sum(1 + left.tokens for left in (*self._chain, unit)) > self._context_tokens:
            self._chain.clear()
        self._chain.append(unit)


def split(text: str, count_tokens: Callable[[str], int]) -> list[Unit]:
    """Return the units of a whole text.

    >>> [unit.text for unit in split("Hello there. How are you?", lambda text: len(text.split()))]
    ['Hello there.', ' How are you?']
    """
    splitter = UnitSplitter(count_tokens)
    return [*splitter.feed(text), *splitter.close()]


def chains(units: Iterable[Unit]) -> list[list[Unit]]:
    """Return consecutive units together that one pass can read: each has those before it as the end of its context.

    >>> [[unit.text for unit in chain] for chain in chains(split("One. Two.", lambda text: len(text.split())))]
    [['One.', ' Two.']]
    """
    found: list[list[Unit]] = []
    for unit in units:
        last = found[-1][-1] if found else None
        if last is not None and unit.context == (*last.context, last.text):
            found[-1].append(unit)
        else:
            found.append([unit])
    return found
