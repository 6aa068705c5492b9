"""The readings of a text that an attacker hides in, each proposed by a cheap test; plain text has none.

Characters first (what does not show, look-alikes), then codes, then words by their gain in a word list: what one step
uncovers the next one sees, so that a text that is hidden twice is still one reading.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from filters.normalise_codes import backwards, decoded, respelled, respelled_words, rot13, unmarked
from filters.normalise_letters import MAX_GROWTH, folded, smuggled, unaccented, upright, visible
from filters.normalise_shape import reread
from filters.normalise_words import Words

MAX_VARIANTS = 3
ROUNDS = 2  # how often a code inside a code is undone
TAIL = 192  # characters of the context that a word may have begun in
LONGEST_SINGLE = 8  # characters of a letter that stands apart, with what surrounds it
LEAST_NEW = 3  # letters of a word that was not there before; shorter ones say nothing

_WORD = re.compile(r"[a-z]+")
_SINGLE = re.compile(r"\s*(?:[^\w\s]*[\w@$!|+][^\w\s]*|(?:0x|\\x)?[0-9a-fA-F]{2}[,:]?)\s*")


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to read a text; ``name`` says what was undone."""

    name: str
    text: str


class Normaliser:
    """Variants by a vocabulary, the encoder's own (piece to id, frequent ones first).

    Without one, no variant is proposed that needs a gain in known words.
    """

    def __init__(self, vocabulary: Mapping[str, int] | None = None) -> None:
        words = Words(vocabulary or {})
        self._characters: tuple[tuple[str, Callable[[str], str]], ...] = (
            ("upright", upright),
            ("visible", visible),
            ("folded", lambda text: folded(text, words)),
            ("unmarked", unmarked),
        )
        self._codes: tuple[tuple[str, Callable[[str], str]], ...] = (
            ("unmarked", unmarked),
            ("decoded", lambda text: decoded(text, words)),
            ("rot13", lambda text: respelled(text, words, rot13)),
            ("forward", lambda text: respelled(text, words, backwards)),
        )
        self._shape: tuple[tuple[str, Callable[[str], str]], ...] = (
            ("joined", lambda text: reread(text, words)),
            ("rot13", lambda text: respelled_words(text, words, rot13)),
            ("forward", lambda text: respelled_words(text, words, backwards)),
        )
        self._words = words

    def variants(self, text: str, context: str = "") -> tuple[Variant, ...]:
        """Return the readings of ``text`` that say more than it does, at most three; time is linear in its length.

        ``context`` stands directly left of it: where a word or a run of single letters began there, it is read whole.

        >>> [(variant.name, variant.text) for variant in Normaliser().variants("you i d i o t")]
        [('joined', 'you idiot')]
        >>> Normaliser().variants("How are you?")
        ()
        """
        said = _said(unaccented(text))
        whole = _begun(context, text) + text
        limit = MAX_GROWTH * len(whole) + MAX_GROWTH
        found: list[Variant] = []
        names: list[str] = []
        current = self._through(self._characters, whole, names)
        self._propose(found, names, current[:limit], said)
        for _ in range(ROUNDS):
            before, current = current, self._through(self._codes, current, names)
            if before == current:
                break
        current = self._through(self._shape, current, names)
        self._propose(found, names, current[:limit], said)
        hidden = "" if text.isascii() else smuggled(whole, self._words)
        if hidden:
            found.append(Variant("smuggled", hidden))
        return tuple(found)

    def _through(self, steps: tuple[tuple[str, Callable[[str], str]], ...], text: str, names: list[str]) -> str:
        """Return the text after each step, whose name is noted where it changed something."""
        for name, undo in steps:
            undone = undo(text)
            if undone != text:
                names.extend([] if name in names else [name])
                text = undone
        return text

    def _propose(self, found: list[Variant], names: list[str], reading: str, said: set[str]) -> None:
        """Note a reading with a word that neither the text nor a reading before it has."""
        words = _said(reading)
        if names and not words <= said:
            found.append(Variant("+".join(names), reading))
            said |= words


def variants(text: str, context: str = "") -> tuple[Variant, ...]:
    """Return what :class:`Normaliser` finds without a word list."""
    return _PLAIN.variants(text, context)


def encodable(text: str) -> str:
    r"""Return ``text`` with lone surrogates, which no tokenizer takes, as question marks.

    >>> encodable("a\ud800")
    'a?'
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _said(text: str) -> set[str]:
    return {word for word in _WORD.findall(text.lower()) if len(word) >= LEAST_NEW}


def _begun(context: str, text: str) -> str:
    """Return the end of ``context`` that ``text`` goes on with: a cut word, or letters that stand apart."""
    tail = context[-TAIL:]
    if tail and text and not tail[-1].isspace() and not text[0].isspace():
        return tail.split()[-1] if tail.split() else ""
    if not _single(text.split(maxsplit=1)[0] if text.strip() else ""):
        return ""
    chunks = re.findall(r"\S+\s*", tail)
    at = len(chunks)
    while at and _single(chunks[at - 1]):
        at -= 1
    return "".join(chunks[at:])


def _single(chunk: str) -> bool:
    """Return whether a chunk is one letter, a sign or a code for one, with punctuation around it."""
    return len(chunk) <= LONGEST_SINGLE and _SINGLE.fullmatch(chunk) is not None


_PLAIN = Normaliser()
