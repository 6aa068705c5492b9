"""The variants of a text that an attacker hides in: bounded in number, none longer than the text's NFKC form allows.

Each is proposed only when a cheap test says that it differs in something that matters; plain text has no variant.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

PLAIN = "plain"
MAX_GROWTH = 4  # NFKC makes 18 characters of U+FDFA: what grows more than this is not looked at beyond it
MIN_SPACED = 4  # letters in a row that stand apart before they are joined: "a b c" is a list, "s t u p" is not

_CONFUSABLE = {
    **dict(zip("аеорсухіѕјԁԛԝһӏвкмнтгп", "aeopcyxisjdqwhlbkmhtrn", strict=True)),
    **dict(zip("αβεικνορτυχγη", "abeiknoptuxyn", strict=True)),
    **dict(zip("ɑɡɩıłøđħ", "agiilodh", strict=True)),
}
_FOLD = str.maketrans(
    {**_CONFUSABLE, **{key.upper(): value for key, value in _CONFUSABLE.items() if len(key.upper()) == 1}}
)
_INVISIBLE = frozenset({"Cf", "Cc", "Cs", "Co", "Mn", "Me"})
_SPACED = re.compile(rf"(?<!\w)\w(?:[^\w\n]{{1,3}}\w(?!\w)){{{MIN_SPACED - 1},}}")
_APART = re.compile(r"[^\w\n]+")


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to read a text; ``name`` says what was undone."""

    name: str
    text: str


def variants(text: str) -> tuple[Variant, ...]:
    """Return the readings of ``text`` that differ from it, at most three; time is linear in its length.

    >>> [(variant.name, variant.text) for variant in variants("you i d i o t")]
    [('joined', 'you idiot')]
    >>> variants("How are you?")
    ()
    """
    found: list[Variant] = []
    current = text
    for name, undo in _STEPS:
        undone = undo(current)
        if undone != current and undone.strip():
            found.append(Variant(name, undone))
            current = undone
    return tuple(found)


def encodable(text: str) -> str:
    r"""Return ``text`` with lone surrogates, which no tokenizer takes, as question marks.

    >>> encodable("a\ud800")
    'a?'
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _visible(text: str) -> str:
    """Return the NFKC form without invisible characters and combining marks."""
    if text.isascii() and text.isprintable():
        return text
    composed = unicodedata.normalize("NFKC", text)[: MAX_GROWTH * len(text) + MAX_GROWTH]
    if composed.isascii():
        apart = composed
    else:
        apart = unicodedata.normalize("NFKD", composed)[: MAX_GROWTH * len(text) + MAX_GROWTH]
    kept = "".join(c for c in apart if c in "\n\t\r" or unicodedata.category(c) not in _INVISIBLE)
    return text if _same_letters(kept, text) else unicodedata.normalize("NFC", kept)


def _same_letters(kept: str, text: str) -> bool:
    """Return whether only the accents of written languages went, which say nothing here."""
    if any("\u0300" <= c <= "\u036f" for c in unicodedata.normalize("NFC", text)):
        return False  # a mark that makes no letter of any language: decoration
    return kept == "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")


def _folded(text: str) -> str:
    """Return words that mix scripts, or look Latin in another one beside Latin words, in Latin letters."""
    if text.isascii() or not any(c.isascii() and c.isalpha() for c in text):
        return text
    return text.translate(_FOLD)


def _joined(text: str) -> str:
    """Return the text with letters that stand apart put together."""
    return _SPACED.sub(lambda match: _APART.sub("", match.group()), text)


_STEPS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("visible", _visible),
    ("folded", _folded),
    ("joined", _joined),
)
