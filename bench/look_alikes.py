"""Clean lines that look hidden, made by dice: maths, code, keys, hashes, images, scripts, bad words inside good."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable

Dice = random.Random

PLACES = (
    "Scunthorpe",
    "Penistone",
    "Essex",
    "Sussex",
    "Middlesex",
    "Lightwater",
    "Clitheroe",
    "Cockermouth",
    "Arsenal",
)
THINGS = (
    "cocktail", "analysis", "class", "grass", "assessment", "basement", "shuttlecock", "hancock", "cockpit", "passage",
    "assembly", "therapist", "document", "cucumber", "peacock", "title", "constitution", "button", "butterfly",
)  # fmt: skip
WORDS = (
    "time",
    "name",
    "word",
    "page",
    "list",
    "item",
    "user",
    "total",
    "count",
    "index",
    "value",
    "price",
    "row",
    "key",
)
SCRIPTS = (
    "сегодня хорошая погода и мы идём гулять в парк потом будет чай с лимоном",
    "σήμερα είναι καλή μέρα και θα πάμε βόλτα στο πάρκο μετά θα πιούμε τσάι",
    "היום יום יפה ואנחנו הולכים לטייל בפארק אחר כך נשתה תה",
    "اليوم الجو جميل وسنذهب إلى الحديقة ثم نشرب الشاي",
    "आज मौसम अच्छा है और हम पार्क में घूमने जा रहे हैं",
    "heute ist schönes Wetter und wir gehen später über die große Straße zum Fluß",
    "dziś jest ładna pogoda więc pójdziemy później na długi spacer nad rzekę",
)
BLOCKS = string.ascii_uppercase + string.digits


def _maths(dice: Dice) -> str:
    a, b, c = (dice.randint(2, 40) for _ in range(3))
    forms = (
        f"{a}x + {b} = {c}",
        f"f(x) = {a}x² − {b}x + {c}",
        f"∑ᵢ xᵢ ≤ {a} · ‖x‖ for i = 1, …, {b}",
        f"({a} + {b}) * {c}",
    )
    return f"Is this right: {dice.choice(forms)}?"


def _code(dice: Dice) -> str:
    a, b, c = dice.sample(WORDS, 3)
    forms = (
        f"for {a} in {b}[{dice.randint(1, 9)}:]: {c} += {a}['{c}']",
        f"const {a} = {b}.map(({c}) => {c} ** 2).filter(Boolean);",
        f"SELECT {a}, {b} FROM {c}s WHERE {a} > {dice.randint(1, 99)} ORDER BY {b};",
        f"if ({a} != null && {b}[0] === '{c}') {{ return !{a}; }}",
        f"grep -rn '{a}_{b}' src/*.py | sort -k{dice.randint(1, 5)} | uniq -c",
    )
    return dice.choice(forms)


def _key(dice: Dice) -> str:
    blocks = ("".join(dice.choices(BLOCKS, k=5)) for _ in range(5))
    return f"My product key is {'-'.join(blocks)}, is it valid?"


def _hash(dice: Dice) -> str:
    return f"The checksum is {dice.randbytes(dice.choice((16, 20, 32))).hex()}."


def _image(dice: Dice) -> str:
    return f"data:image/png;base64,{base64.b64encode(dice.randbytes(dice.randint(60, 240))).decode()}"


def _inside(dice: Dice) -> str:
    return f"We drove from {dice.choice(PLACES)} to {dice.choice(PLACES)} and talked about the {dice.choice(THINGS)}."


def _script(dice: Dice) -> str:
    words = dice.choice(SCRIPTS).split()
    return " ".join(words[dice.randrange(3) :][: dice.randint(4, 12)])


def _short(dice: Dice) -> str:
    letters = " ".join(dice.sample(string.ascii_uppercase, dice.randint(3, 7)))
    number = f"{dice.randint(100, 999)}-{dice.randint(1000, 9999)}"
    return f"Choose one of {letters}, or call {number} after {dice.randint(1, 12)} p.m."


def _link(dice: Dice) -> str:
    a, b = dice.sample(WORDS, 2)
    return f"https://www.example.com/{a}/{dice.randint(1, 999)}?q={b}%20caf%C3%A9+{a}&page={dice.randint(1, 20)}#top"


KINDS: dict[str, Callable[[Dice], str]] = {
    "maths": _maths, "code": _code, "product keys": _key, "hashes": _hash, "base64 images": _image,
    "words in words": _inside, "other scripts": _script, "single letters": _short, "links": _link,
}  # fmt: skip


def made(count: int, seed: int) -> list[str]:
    """Return ``count`` lines of each kind.

    >>> made(1, 0)[2]
    'My product key is QCSF6-7RIUA-MT37N-AY86J-SJNC4, is it valid?'
    """
    return [make(random.Random(f"{seed} {kind} {at}")) for kind, make in KINDS.items() for at in range(count)]
