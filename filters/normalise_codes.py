"""Text written in a code that any reader, or any language model, undoes at sight."""

from __future__ import annotations

import binascii
import codecs
import html
import re
from collections.abc import Callable
from urllib.parse import unquote

from filters.normalise_words import Words, wordlike

MAX_CODE = 1_024  # characters of one code that are decoded: a unit's word has 96, with its context 700
LEAST_GAIN = 5.0  # nats; a random word would have to be e**5 = 150 times less likely than what it is read as
LEAST_LETTERS = 0.6  # of decoded bytes that are letters or spaces
LEAST_SHARE = 0.75  # what a whole text in another alphabet may cost of what it costs as it stands
ODD_SHARE = 0.5  # of the words that must be unknown before the whole is read in another alphabet

LEAST_RESPELLED = 4  # letters of a single word that is read in another alphabet; of three, too many are words by chance

_MARKED = re.compile(r"(?<=[^\W_])(\*\*|\*|__|~~|\|\||`)(\w{1,30})\1|(\*\*|\*|__|~~|\|\||`)(\w{1,30})\3(?=[^\W_])")
_TAG = re.compile(r"<[^<>\n]*>")
_LINK = re.compile(r"!?\[([^\[\]\n]{0,100})\]\([^()\n]{0,200}\)")
_ENTITY = re.compile(r"&#?\w{1,31};")
_ESCAPE = re.compile(r"\\(?:u\{?([0-9a-fA-F]{4})\}?|x([0-9a-fA-F]{2}))")
_PERCENT = re.compile(r"%[0-9a-fA-F]{2}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{6,}={0,2}")
_HEX = re.compile(r"(?:(?:0x|\\x)?[0-9a-fA-F]{2}[ ,:]?){3,}")
_HEX_NOISE = re.compile(r"0x|\\x|[ ,:]")
_BINARY = re.compile(r"(?:[01]{8} ?){3,}")
_WORD = re.compile(r"(?<![\w@$!|+])[A-Za-z]{2,}(?![\w@$|+])")


def unmarked(text: str) -> str:
    """Return the text as a page would show it: entities and escapes resolved, tags and link targets gone.

    >>> unmarked("stu<b></b>pid &#105;dea, %73o")
    'stupid idea, so'
    """
    if "&" in text and _ENTITY.search(text):
        text = html.unescape(text)
    if "%" in text and _PERCENT.search(text):
        text = unquote(text, errors="replace")
    if "\\" in text:
        text = _ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), text)
    if "<" in text:
        text = _TAG.sub("", text)
    text = _LINK.sub(r"\1", text) if "](" in text else text
    return _MARKED.sub(lambda match: match[2] or match[4], text)


def decoded(text: str, words: Words) -> str:
    """Return the text with base64, hexadecimal and binary codes as what they say, where that is text.

    >>> from filters.normalise_words import NO_WORDS
    >>> decoded("say c2h1dCB1cA== or 73 68 75 74", NO_WORDS)
    'say shut up or shut'
    """
    if not any(len(chunk) > 5 for chunk in text.split()) and not _HEX.search(text):
        return text
    text = _BINARY.sub(_binary, text) if "01" in text else text
    text = _HEX.sub(lambda match: _hex(match, words), text)
    return _BASE64.sub(lambda match: _base64(match, words), text)


def rot13(word: str) -> str:
    """Return the letters of a word moved by thirteen."""
    return codecs.encode(word, "rot13")


def backwards(word: str) -> str:
    """Return a word from the right."""
    return word[::-1]


def respelled(text: str, words: Words, spell: Callable[[str], str]) -> str:
    """Return the text with every word spelled otherwise, where most are unknown as they stand and known then."""
    found = [word.lower() for word in _WORD.findall(text)] if words else []
    if not found or sum(not words.known(word) for word in found) < ODD_SHARE * len(found):
        return text
    before, after = sum(map(words.cost, found)), sum(words.cost(spell(word)) for word in found)
    clearly = before - after >= LEAST_GAIN and after <= LEAST_SHARE * before
    if not (clearly and wordlike(after, sum(map(len, found)))):
        return text
    return _WORD.sub(lambda match: spell(match.group()), text)


def respelled_words(text: str, words: Words, spell: Callable[[str], str]) -> str:
    """Return the text with those unknown words spelled otherwise that are known then."""
    found = {word.lower() for word in _WORD.findall(text) if len(word) >= LEAST_RESPELLED} if words else set()
    clear = {word for word in found if not words.known(word) and words.known(spell(word))}
    clear = {word for word in clear if words.cost(word) - words.cost(spell(word)) > LEAST_GAIN}
    return _WORD.sub(lambda m: spell(m.group()) if m.group().lower() in clear else m.group(), text) if clear else text


def _binary(match: re.Match[str]) -> str:
    bits = match.group().replace(" ", "")[: 8 * MAX_CODE]
    text = _text(bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - 7, 8)))
    return _padded(match, text) if text else match.group()


def _hex(match: re.Match[str], words: Words) -> str:
    digits = _HEX_NOISE.sub("", match.group()[: 4 * MAX_CODE])
    text = _text(bytes.fromhex(digits[: len(digits) // 2 * 2]))
    return _padded(match, text) if text and _reads(text, words) else match.group()


def _base64(match: re.Match[str], words: Words) -> str:
    code = match.group()[:MAX_CODE].rstrip("=").replace("-", "+").replace("_", "/")
    if code.isdigit() or words.known(code.lower()):
        return match.group()
    for offset in range(4):  # a long code is cut between two units, which may not be where four characters end
        part = code[offset:]
        part = part[:-1] if len(part) % 4 == 1 else part
        text = _text(binascii.a2b_base64(part + "=" * (-len(part) % 4)))
        if text and _reads(text, words):
            return _padded(match, code[:offset] + text)
    return match.group()


def _padded(match: re.Match[str], text: str) -> str:
    """Return decoded text with the space that the code ended in, so that it stays apart from what follows."""
    return text + (" " if match.group()[-1] == " " else "")


def _text(code: bytes) -> str:
    """Return what the bytes say, or an empty text where that is no writing."""
    try:
        text = code.decode("utf-8")
    except UnicodeDecodeError as exc:
        if exc.start < len(code) - 3 or not exc.start:
            return ""
        text = code[: exc.start].decode("utf-8")  # cut inside a character
    if not text.replace("\n", " ").replace("\t", " ").replace("\r", " ").isprintable():
        return ""
    letters = sum(c.isalpha() or c == " " for c in text)
    coded = _BASE64.fullmatch(text) or _HEX.fullmatch(text)
    return text if len(text) > 2 and (coded or letters >= LEAST_LETTERS * len(text)) else ""


def _reads(text: str, words: Words) -> bool:
    """Return whether decoded text reads like words; another code inside it does as well."""
    if not words or len(text) > 20:
        return True
    return words.readable(text) or bool(_HEX.fullmatch(text))
