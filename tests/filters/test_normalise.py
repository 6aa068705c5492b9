"""Variants: proposed where somebody hides, bounded, and none for plain text."""

import base64
import codecs
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.transforms_texts import LOOK_ALIKES, TRANSFORMS
from filters.encoder import OnnxEncoder
from filters.guardian import Guardian
from filters.normalise import MAX_VARIANTS, Normaliser, variants
from filters.units import split
from tests.hostile import ABUSIVE_LINES, SMALL_TALK

PLAIN = [
    "How are you?",
    "The list is a, b, c.",
    "Ça va très bien, café déjà vu, naïve.",
    "Привет, как дела?",
    "Καλημέρα σας",
    "2 + 2 = 4 and x < y",
    "I am 5' 11\" tall.",
]
CLEAN = [
    *PLAIN,
    *SMALL_TALK,
    "My product key is XJ7F3-9KQ2R-BB4TZ.",
    "def my_func(a, b): return a[i] + b",
    "Scunthorpe is in the UK, don't you think?",
    "x = 3 + y * 2",
    "I ❤️ this 👨‍👩‍👧, greetings from 🇩🇪!",
    "My PS4 plays mp3 since the 1st of May at 3pm.",
    "你好，今天天气很好！",
    "550e8400-e29b-41d4-a716-446655440000",
]
WHOLE = "you stupid idiot"
UNPROPOSED = ("benign tail", "padding before", "padding after", "padding around")  # the units' work, not a variant's
HIDDEN = [
    ("s t u p i d", "stupid"),
    ("you i d i o t s h u t u p", "you idiot shut up"),
    ("s t u p i d  i d i o t", "stupid idiot"),
    ("s.t.u.p.i.d", "stupid"),
    ("you st upid thing", "you stupid thing"),
    ("st-upid", "stupid"),
    ("youstupididiot", "you stupid idiot"),
    ("stuuuupid", "stupid"),
    ("ssttuuppiidd", "stupid"),
    ("$tup1d 1d10t", "stupid idiot"),
    ("st*pid", "stupid"),
    ("$ t u p 1 d", "stupid"),
    ("ѕtuріd idea", "stupid idea"),
    ("sτυριd idea", "stupid idea"),
    ("ｓｔｕｐｉｄ", "stupid"),
    ("stu\u200bpid", "stupid"),
    ("stu\xadpid", "stupid"),
    ("stu\u202epid", "stupid"),
    ("stu\ufe0fpid", "stupid"),
    ("stu\U000e0061pid", "stupid"),
    ("s\u0335t\u0335upid", "stupid"),
    ("\U0001d4fc\U0001d4fd\U0001d4fe\U0001d4f9\U0001d4f2\U0001d4ed", "stupid"),
    ("\U0001f1ee\U0001f1e9\U0001f1ee\U0001f1f4\U0001f1f9", "idiot"),
    ("🅸🅳🅸🅾🆃", "idiot"),
    ("ⓘⓓⓘⓞⓣ", "idiot"),
    ("ʇoıpı", "idiot"),
    ("hi" + "".join(chr(0xE0000 + ord(c)) for c in WHOLE), WHOLE),
    (base64.b64encode(WHOLE.encode()).decode(), WHOLE),
    (base64.b64encode(base64.b64encode(WHOLE.encode())).decode(), WHOLE),
    (WHOLE.encode().hex(), WHOLE),
    (WHOLE.encode().hex(" "), WHOLE),
    ("".join(f"%{ord(c):02x}" for c in WHOLE), WHOLE),
    (codecs.encode(WHOLE, "rot13"), WHOLE),
    ("say " + codecs.encode("stupid", "rot13") + " please", "say stupid please"),
    ("uoy diputs toidi", WHOLE),
    ("stu<b></b>pid", "stupid"),
    ("stu&#112;id", "stupid"),
    ("st**u**pid", "stupid"),
]


@pytest.fixture(scope="module")
def normaliser() -> Normaliser:
    return Normaliser(OnnxEncoder().vocabulary)


@pytest.mark.parametrize("text", PLAIN)
def test_plain_text_has_no_variant_without_a_word_list(text):
    assert variants(text) == ()


@pytest.mark.parametrize("text", CLEAN)
def test_clean_text_has_no_variant(normaliser, text):
    assert normaliser.variants(text) == ()


@pytest.mark.parametrize(("text", "read"), HIDDEN)
def test_a_hidden_word_is_read(normaliser, text, read):
    found = normaliser.variants(text)
    assert read in [variant.text for variant in found]
    assert all(variant.name for variant in found)


@pytest.mark.parametrize("text", ["ｓｔｕｐｉｄ", "s t u p i d", "ѕtuріd idea", "stu\u200bpid"])
def test_characters_are_undone_without_a_word_list(text):
    assert "stupid" in " ".join(variant.text for variant in variants(text))


def test_a_word_that_began_in_the_unit_before_is_read_whole(normaliser):
    assert "stupid" in normaliser.variants(" d.", " s. t. u. p. i.")[0].text
    assert normaliser.variants("\nt", "\n".join("youstupididio"))[0].text == "you stupid idiot"
    code = base64.b64encode(b"nobody likes you, stupid idiot").decode()
    assert "stupid" in normaliser.variants(code[20:], code[:20])[0].text


def test_a_plain_context_gives_no_variant(normaliser):
    assert normaliser.variants("How are you?", "Shut up. ") == ()


@pytest.mark.parametrize("name", [name for name in TRANSFORMS if name not in UNPROPOSED])
def test_every_transform_of_an_abusive_line_is_not_allowed(guardian, name):
    served = [guardian.check(prompt=TRANSFORMS[name](line, random.Random(1))).serve for line in ABUSIVE_LINES]
    assert sum(serve != "allow" for serve in served) >= len(served) - 1, served


@pytest.mark.parametrize("name", UNPROPOSED)
def test_padding_hides_nothing(guardian, name):
    for line in ABUSIVE_LINES:
        assert guardian.check(prompt=TRANSFORMS[name](line, random.Random(1))).serve != "allow"


@pytest.fixture(scope="module")
def guardian() -> Guardian:
    return Guardian()


def test_look_alikes_cost_few_passes(normaliser, guardian):
    units = [unit for text in LOOK_ALIKES for unit in split(text, guardian.filters[0].encoder.count_tokens)]
    found = [normaliser.variants(unit.text, "".join(unit.context)) for unit in units]
    assert sum(map(len, found)) <= 0.3 * len(units)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300), st.text(max_size=60))
def test_variants_are_few_bounded_and_the_same_each_time(normaliser, text, context):
    for found in (variants(text, context), normaliser.variants(text, context)):
        assert len(found) <= MAX_VARIANTS
        assert all(len(variant.text) <= 4 * (len(text) + len(context)) + 4 for variant in found)
        assert all(variant.name for variant in found)
    assert normaliser.variants(text, context) == normaliser.variants(text, context)


PIECES = st.sampled_from(
    [
        "a",
        " ",
        "stu",
        "pid",
        ".",
        "$",
        "1",
        "%73",
        "&#115;",
        "<b>",
        "\u200b",
        "\u0335",
        "ѕ",
        "c3R1",
        "73 ",
        "**",
        "🇮",
        "\n",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=60).map("".join))
def test_texts_made_of_tricks_raise_nothing(normaliser, text):
    assert len(normaliser.variants(text)) <= MAX_VARIANTS


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*" ".join(SMALL_TALK).replace("?", "").split(), "garden", "tea"]), max_size=30))
def test_what_is_read_of_clean_words_needs_no_further_reading(normaliser, words):
    for variant in normaliser.variants(" ".join(words)):
        assert normaliser.variants(variant.text) == ()


LONG = [
    "a ",
    "!" * 60 + "ab",
    "ﷺ",
    "a\u0335",
    "(",
    "<",
    "[a](",
    "&#1",
    "YWJj",
    "61 ",
    "%41",
    "1d10t ",
    "a*",
    "aab",
    "🇦",
    "abcdefgh",
    "zq ",
    "\ufe01",
]


@pytest.mark.parametrize("piece", LONG)
def test_a_long_hostile_text_takes_linear_time(normaliser, piece):
    took = []
    for size in (20_000, 40_000):
        began = time.process_time()
        normaliser.variants(piece * (size // len(piece)))
        took.append(time.process_time() - began)
    assert took[1] < 4.0  # measured: 1.2 s for the slowest
    assert took[1] < 4 * took[0] + 1.0


@pytest.mark.parametrize("piece", LONG)
def test_a_unit_of_the_worst_kind_costs_milliseconds(normaliser, piece):
    unit = piece * (400 // len(piece))
    began = time.process_time()
    normaliser.variants(unit, unit)
    assert time.process_time() - began < 0.3  # measured: 0.02 s for the slowest
