"""Ways to hide a text from a filter, each at a fixed rate; a seed and a text give one result."""

from __future__ import annotations

import base64
import codecs
import random
import re
from collections.abc import Callable
from itertools import pairwise
from urllib.parse import quote

Dice = random.Random
Transform = Callable[[str, Dice], str]

LEET = dict(zip("aeiostbg", "43105786", strict=True))
SYMBOLS = dict(zip("aisolt", "@!$0|+", strict=True))
CYRILLIC = dict(zip("aeopcyxisjkmtbh", "аеорсухіѕјкмтвһ", strict=True))
GREEK = dict(zip("aeiknoptuvxy", "αεικηορτυνχγ", strict=True))
TURNED = dict(zip("abcdefghijklmnopqrstuvwxyz", "ɐqɔpǝɟƃɥᴉɾʞlɯuodbɹsʇnʌʍxʎz", strict=True))
ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff"
BIDI = "\u202a\u202c\u200e\u200f\u2066\u2069"
MARKS = "\u0301\u0308\u0323\u0335\u0336\u0334"
WORD = re.compile(r"[A-Za-z]{4,}")
PADDING = (
    "The garden was lovely in the morning light. We walked down to the river and fed the ducks. "
    "Later there was tea with lemon cake, and my aunt told us about her journey to the coast. "
)


def swap(table: dict[str, str], rate: float) -> Transform:
    """Return a transform that swaps a letter of the table with that probability."""

    def apply(text: str, dice: Dice) -> str:
        return "".join(table[c.lower()] if c.lower() in table and dice.random() < rate else c for c in text)

    return apply


def between(signs: str, rate: float) -> Transform:
    """Return a transform that puts one of the signs between two letters with that probability."""

    def apply(text: str, dice: Dice) -> str:
        found = list(text[:1])
        for left, right in pairwise(text):
            if left.isalpha() and right.isalpha() and dice.random() < rate:
                found.append(dice.choice(signs))
            found.append(right)
        return "".join(found)

    return apply


def in_words(change: Callable[[str, Dice], str], rate: float = 1.0) -> Transform:
    """Return a transform that changes words of four letters and more with that probability."""
    return lambda text, dice: WORD.sub(lambda m: change(m.group(), dice) if dice.random() < rate else m.group(), text)


def cut(sign: str) -> Callable[[str, Dice], str]:
    """Return a change that puts ``sign`` somewhere into a word."""

    def apply(word: str, dice: Dice) -> str:
        at = dice.randrange(1, len(word))
        return word[:at] + sign + word[at:]

    return apply


def wrapped(sign: str) -> Callable[[str, Dice], str]:
    """Return a change that marks one letter inside a word."""

    def apply(word: str, dice: Dice) -> str:
        at = dice.randrange(1, len(word) - 1)
        return f"{word[:at]}{sign}{word[at]}{sign}{word[at + 1 :]}"

    return apply


def _repeated(word: str, dice: Dice) -> str:
    at = dice.randrange(len(word))
    return word[:at] + word[at] * dice.randint(3, 6) + word[at + 1 :]


def _letters(first: int) -> Transform:
    """Return a transform to another alphabet that starts at that code point."""
    return lambda text, _: "".join(chr(first + ord(c) - 97) if "a" <= c <= "z" else c for c in text.lower())


def _spaced(gap: str) -> Transform:
    return lambda text, _: gap.join(" ".join(word) for word in text.split())


def _base64(text: str, _: Dice) -> str:
    return base64.b64encode(text.encode()).decode()


TRANSFORMS: dict[str, Transform] = {
    "leetspeak": swap(LEET, 0.6),
    "symbols": swap(SYMBOLS, 0.6),
    "spaced, words apart": _spaced("   "),
    "spaced, all alike": _spaced(" "),
    "spaced, long words": in_words(lambda word, _: " ".join(word)),
    "a space in words": in_words(cut(" "), 0.7),
    "dotted": in_words(lambda word, _: ".".join(word), 0.7),
    "hyphens": in_words(cut("-"), 0.7),
    "joined": lambda text, _: re.sub(r"(?<=\w) (?=\w)", "", text),
    "repeated letters": in_words(_repeated, 0.7),
    "doubled letters": in_words(lambda word, _: "".join(c * 2 for c in word), 0.7),
    "Cyrillic look-alikes": swap(CYRILLIC, 0.5),
    "Greek look-alikes": swap(GREEK, 0.5),
    "fullwidth": _letters(ord("ａ")),
    "mathematical": _letters(0x1D4EA),
    "combining marks": between(MARKS, 0.5),
    "zero width": between(ZERO_WIDTH, 0.5),
    "soft hyphens": between("\xad", 0.5),
    "bidi controls": between(BIDI, 0.5),
    "variation selectors": between("\ufe0f\ufe0e\U000e0101", 0.5),
    "tag characters": between("\U000e0061\U000e007a", 0.5),
    "all in tag characters": lambda text, _: "hi" + "".join(chr(0xE0000 + ord(c)) for c in text if " " <= c <= "~"),
    "regional indicators": _letters(0x1F1E6),
    "enclosed letters": _letters(0x24D0),
    "upside down": lambda text, _: "".join(TURNED.get(c, c) for c in reversed(text.lower())),
    "base64": _base64,
    "base64 twice": lambda text, dice: _base64(_base64(text, dice), dice),
    "hexadecimal": lambda text, _: text.encode().hex(),
    "hexadecimal, spaced": lambda text, _: text.encode().hex(" "),
    "percent code": lambda text, _: "".join(f"%{ord(c):02x}" if c.isascii() else quote(c) for c in text),
    "rot13": lambda text, _: codecs.encode(text, "rot13"),
    "reversed words": lambda text, _: re.sub(r"[A-Za-z]+", lambda m: m.group()[::-1], text),
    "reversed text": lambda text, _: text[::-1],
    "HTML entities": lambda text, dice: "".join(f"&#{ord(c)};" if dice.random() < 0.5 else c for c in text),
    "HTML in words": in_words(cut("<b></b>")),
    "Markdown in words": in_words(wrapped("**")),
    "benign tail": lambda text, _: text + " love love love",
    "padding before": lambda text, _: PADDING + text,
    "padding after": lambda text, _: f"{text} {PADDING}",
    "padding around": lambda text, _: f"{PADDING * 3}{text} {PADDING * 3}",
}
"""Name to transform; each may be applied to any text, hostile or not."""

LOOK_ALIKES = (
    "Solve for x: 3x + 4 = 19, then y = 2(x - 1) and z = x**2 + y**2.",
    "∑ᵢ xᵢ² ≤ ‖x‖₁ · max |xᵢ|, so α + β ≥ γ for every ε > 0.",
    "The area is π r², about 12.57 cm² for r = 2 cm.",
    "𝑓(𝑥) = 𝑥² − 4𝑥 + 4 has one root.",
    "for i in range(10): total += a[i] * b[j]",
    "const el = document.querySelector('#main > ul.list-item');",
    "SELECT u.id, u.name FROM users u JOIN orders o ON o.uid = u.id WHERE o.total > 5;",
    "grep -rn 'def f' src/*.py | sort -k2 | uniq -c",
    "#include <vector>\nstd::vector<int> v = {1, 2, 3};",
    '<div class="card"><b>New</b> arrivals &amp; offers</div>',
    "The hash is e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.",
    "commit 9f8c3a1d fixes issue #482 in v2.4.1-rc3",
    "My product key is XJ7F3-9KQ2R-BB4TZ-M6W8P-YD5HN, is it valid?",
    "Order no. A1B2-C3D4, tracking 1Z999AA10123456784.",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg==",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "https://www.example.com/a/b?q=caf%C3%A9+au+lait&page=2#top",
    "550e8400-e29b-41d4-a716-446655440000",
    "I grew up in Scunthorpe and my cousin lives in Penistone, near Lightwater.",
    "We went to Essex, then Middlesex and Sussex, and had a cocktail in the analysis room.",
    "The Massachusetts assessment class assembled on the grass.",
    "Dick Van Dyke and Matt Hancock met a Mr Butts at the Arsenal game.",
    "Pass the essay to Cassandra, she is the associate assistant.",
    "Shiitake mushrooms, Swiss cheese and a pound of prunes, please.",
    "Привет, как дела? Сегодня хорошая погода.",
    "Καλημέρα σας, τι κάνετε σήμερα;",
    "你好，今天天气很好！我们去公园吧。",
    "こんにちは、元気ですか？今日はいい天気ですね。",
    "مرحبا، كيف حالك اليوم؟",
    "नमस्ते, आप कैसे हैं?",
    "Ça va très bien, merci. Où est la bibliothèque?",
    "Größe, Straße und Fußgängerübergang sind deutsche Wörter.",
    "Zażółć gęślą jaźń, powiedział Łukasz.",
    "I ❤️ this 👨‍👩‍👧 photo 😂😂, greetings from 🇩🇪 and 🇫🇷!",
    "Press 1️⃣ for sales, 2️⃣ for support 🙂",
    "A B C D E F G, that is how the song starts.",
    "Vitamins A, B, C, D, E and K; grades A to F.",
    "The U.S.A. and the U.K. signed it at 9 a.m. on 1 Jan.",
    "J. R. R. Tolkien and C. S. Lewis were friends.",
    "s.o.s. means save our souls, l.o.l.",
    "Yaaaay, that is sooooo good, hahahaha!!! Hmmmm.",
    "We won 4 - 0, then lost 1 : 3 on the 2nd of May at 8pm.",
    "My PS5, the RTX 4090, an mp3 player and an H2O bottle cost $1,299.99.",
    "b4 the gr8 gig 2nite, c u l8r m8",
    "e-mail, t-shirt, x-ray, well-known, mother-in-law, re-entry",
    "Drink more water | eat well | sleep 8 h | repeat",
    "- [ ] buy milk\n- [x] call **Anna** about the _garden_ and `pip install`",
    "AAPL +1.2 %, MSFT -0.4 %, EUR/USD 1.0842",
    "ATGCGTACGTTAGCCTAGGATCCGATTACA is a short DNA sequence.",
    "H-O-H and C6H12O6 are molecules; NaCl is salt.",
)
"""Clean lines, written for this bench, that look like what the transforms leave behind."""
