"""Characters that stand for Latin letters, or for nothing at all, read as what they look like."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from filters.normalise_words import Words

MAX_GROWTH = 4  # NFKC makes 18 characters of U+FDFA: what grows more than this is not looked at beyond it
LEAST_FLAGS = 3  # regional indicators in a row that are letters; two are a flag
LEAST_SMUGGLED = 4

_CONFUSABLE = {
    **dict(zip("аеорсухіѕјԁԛԝһӏвкмнтгпьзчԍѵӕ", "aeopcyxisjdqwhlbkmhtrnbeygva", strict=True)),
    **dict(zip("αβεικνορτυχγηωσςδθζμ", "abeikvoptuxynwosdozu", strict=True)),
    **dict(zip("ɑɡɩıłøđħæœßþʟɪ", "agiilodhaobpli", strict=True)),
    **dict(zip("օոսցհ", "onugh", strict=True)),
    **dict(zip("ᎪᏴᏟᎠᎬᏀᎻᎥᎫᏦᏞᎷᏢᏒᏚᎢᏙᏔᎽᏃ", "abcdeghijklmprstvwyz", strict=True)),
}
_NAMED = re.compile(
    r"(?:LATIN (?:SMALL |CAPITAL )?LETTER (?:SMALL CAPITAL |CAPITAL |TURNED |REVERSED |SCRIPT |OPEN )?"
    r"|NEGATIVE CIRCLED LATIN CAPITAL LETTER |NEGATIVE SQUARED LATIN CAPITAL LETTER |PARENTHESIZED LATIN SMALL LETTER "
    r"|SQUARED LATIN CAPITAL LETTER )([A-Z])(?: WITH .*)?"
)
_NAMED_RANGES = (
    (0x180, 0x2B0),
    (0x1D00, 0x1DC0),
    (0x2C60, 0x2C80),
    (0xA720, 0xA800),
    (0x249C, 0x24B6),
    (0x1F110, 0x1F18A),
)
_REGIONAL = 0x1F1E6
_FLAGS = re.compile(rf"[\U0001F1E6-\U0001F1FF](?:[^\w\n]{{0,2}}[\U0001F1E6-\U0001F1FF]){{{LEAST_FLAGS - 1},}}")
_KEYCAP = re.compile("([0-9#*])\ufe0f?\u20e3")
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")  # letters and symbols by category that show nothing
_INVISIBLE = frozenset({"Cf", "Cc", "Cs", "Co", "Mn", "Me"})
_LETTERS = re.compile(r"[^\W\d_]+")
_TURNED = dict(zip("ɐɔǝɟƃɥᴉıɾʞןɯɹʇʌʍʎqpbdunʃɓ", "acefghiijklmrtvwybdqpnulg", strict=True))
_ONLY_TURNED = frozenset("ɐɔǝɟƃɥᴉɾʞɯɹʇʌʍʎ")
_TAGS = re.compile("[\U000e0020-\U000e007e]+")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")


def _named() -> Iterator[tuple[int, str]]:
    for first, last in _NAMED_RANGES:
        for code in range(first, last):
            if found := _NAMED.fullmatch(unicodedata.name(chr(code), "")):
                yield code, found[1].lower()


def _enclosed(code: int) -> bool:
    return 0x249C <= code < 0x24B6 or code >= 0x1F110


_FOLD: dict[int, str] = {
    **dict(_named()),
    **{ord(key.upper()): value for key, value in _CONFUSABLE.items() if len(key.upper()) == 1},
    **{ord(key): value for key, value in _CONFUSABLE.items()},
}
_ENCLOSED: dict[int, str] = {code: letter for code, letter in _named() if _enclosed(code)}
_ENCLOSED[0x1F18E] = "ab"


def visible(text: str) -> str:
    """Return the text's compatibility form without what does not show, combining marks included.

    >>> visible("stu\u200bpid"), visible("\U0001d4fc\U0001d4f8")
    ('stupid', 'so')
    """
    if text.isascii() and text.isprintable():
        return text
    spoken = _KEYCAP.sub(r"\1", _FLAGS.sub(_flags, text)).translate(_ENCLOSED)
    composed = unicodedata.normalize("NFKC", spoken)[: MAX_GROWTH * len(text) + MAX_GROWTH]
    apart = unicodedata.normalize("NFKD", composed)[: MAX_GROWTH * len(text) + MAX_GROWTH]
    kept = "".join(c for c in apart if c in "\n\t\r" or not (c in _BLANK or unicodedata.category(c) in _INVISIBLE))
    return unicodedata.normalize("NFC", kept)


def folded(text: str, words: Words) -> str:
    """Return words that mix scripts, or are look-alikes beside Latin words, in Latin letters.

    A word all of another script is left alone, unless every letter of it has a Latin look-alike and Latin stands beside
    it or it is known then.

    >>> from filters.normalise_words import NO_WORDS
    >>> folded("ѕtuріd idea, привет", NO_WORDS)
    'stupid idea, привет'
    """
    if text.isascii():
        return text
    beside = any(c.isascii() and c.isalpha() for c in text)

    def fold(match: re.Match[str]) -> str:
        word = match.group()
        if word.isascii():
            return word
        latin = word.translate(_FOLD)
        if any(c.isascii() for c in word):
            return latin
        whole = latin.isascii() and (beside or (len(latin) > 3 and words.known(latin.lower())))
        return latin if whole else word

    return _LETTERS.sub(fold, text)


def upright(text: str) -> str:
    """Return text that was turned upside down the right way up.

    >>> upright("ʇoıpı")
    'idiot'
    """
    if text.isascii() or sum(c in _ONLY_TURNED for c in text.lower()) * 8 < len(text):
        return text
    return "".join(_TURNED.get(c, c) for c in reversed(text.lower()))


def smuggled(text: str, words: Words) -> str:
    """Return ASCII that tag characters or variation selectors carry unseen, or an empty text.

    >>> from filters.normalise_words import NO_WORDS
    >>> smuggled("hi" + "".join(chr(0xE0000 + ord(c)) for c in "shut up"), NO_WORDS)
    'shut up'
    """
    if text.isascii():
        return ""
    hidden = "".join(chr(ord(c) - 0xE0000) for run in _TAGS.findall(text) for c in run)
    codes = (ord(c) for run in _SELECTORS.findall(text) for c in run)
    hidden += "".join(chr(code - 0xFE00 if code < 0xFE10 else code - 0xE0100 + 16) for code in codes)
    readable = hidden.isascii() and hidden.isprintable() and len(hidden) >= LEAST_SMUGGLED
    return hidden if readable and words.readable(hidden) else ""


def unaccented(text: str) -> str:
    """Return the text without the accents of written languages, which say nothing here."""
    if text.isascii():
        return text
    composed = unicodedata.normalize("NFC", text)  # a mark that is still alone then makes no letter of any language
    return "".join(c if c.isascii() else unicodedata.normalize("NFD", c)[0] for c in composed)


def _flags(match: re.Match[str]) -> str:
    return "".join(
        chr(ord(c) - _REGIONAL + ord("a")) if ord(c) >= _REGIONAL else ("" if c != " " else c) for c in match.group()
    )
