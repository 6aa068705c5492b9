"""Texts in languages that a model was not trained for: found, said, and handed to a model that was.

A score under ``other_language`` is how sure the detector is of such a language; the reason's variant is its code. What
the scores mean is the policy's business: the shipped one keeps such a text from learning.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version

from lingua import Language, LanguageDetector, LanguageDetectorBuilder

from filters.types import Encoder, Filter, Item, Scores

OTHER = "other_language"
ENGLISH = "en"
DETECTED = (
    "ar", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hu", "id", "it", "ja", "ko", "nl", "pl",
    "pt", "ro", "ru", "sv", "th", "tr", "uk", "vi", "zh",
)  # fmt: skip
"""What the detector tells apart; the fewer, the surer it is of a short text."""

KNOWN_SHARE = 0.8
"""From this share of words in the encoder's vocabulary on, a text is English without a further look."""

FEWEST_WORDS = 3
"""Fewer words in Latin letters are nobody's language: ``hi``, ``no``, names."""

ROUTED = 0.9
"""How sure the detector must be before another model reads a text."""

_WORD = re.compile(r"[^\W\d_]+")
_LATIN = re.compile("[a-z]")


class Languages:
    """The language of a text: lingua in its low-accuracy mode, 40 MB; see ``bench/language.py``."""

    def __init__(self, vocabulary: Mapping[str, int] | None = None) -> None:
        self._words = vocabulary or {}

    @cached_property
    def _detector(self) -> LanguageDetector:
        chosen = [one for one in Language.all() if one.iso_code_639_1.name.lower() in DETECTED]
        return LanguageDetectorBuilder.from_languages(*chosen).with_low_accuracy_mode().build()

    @property
    def version(self) -> str:
        """What shapes the answer, but for the vocabulary, which is the encoder's."""
        return f"lingua {version('lingua-language-detector')} {DETECTED} {KNOWN_SHARE} {FEWEST_WORDS}"

    def of(self, text: str) -> tuple[str, float]:
        """Return the code (ISO 639-1) of the likeliest language and how sure it is, in [0, 1]; English where unclear.

        >>> Languages().of("ok")
        ('en', 0.0)
        """
        words = _WORD.findall(text.lower())
        if not words or (len(words) < FEWEST_WORDS and _LATIN.search(text.lower())):
            return ENGLISH, 0.0
        known = sum(word in self._words for word in words) / len(words)
        if known >= KNOWN_SHARE:
            return ENGLISH, known
        best = self._detector.compute_language_confidence_values(text)[0]
        return best.language.iso_code_639_1.name.lower(), best.value


class ByLanguage:
    """A filter that says where a text is in a language it was not trained for, or lets another read it.

    Parameters
    ----------
    own
        Reads everything that no other does. Its attribute ``languages`` has the codes of those that it was trained for;
        without one it is English.
    others
        Code to the filter that reads texts in that language; of its labels those of ``own`` count, and what it does not
        speak of is absent.
    """

    as_written = frozenset({OTHER})
    """Labels that a disguise taken off says nothing about."""

    def __init__(
        self,
        own: Filter,
        *,
        others: Mapping[str, Filter] | None = None,
        languages: Languages | None = None,
    ) -> None:
        self._own, self._others = own, dict(others or {})
        self._trained: frozenset[str] = frozenset(getattr(own, "languages", (ENGLISH,)))
        self._languages = languages or Languages(getattr(self.encoder, "vocabulary", None))
        parts = [own.version, self._languages.version, *sorted(self._trained)]
        parts += [f"{code} {one.version}" for code, one in sorted(self._others.items())]
        self._version = hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def name(self) -> str:
        """The name of the filter of its own."""
        return self._own.name

    @property
    def version(self) -> str:
        """sha256 over all filters' versions and the detector's."""
        return self._version

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the filter of its own, and ``other_language``."""
        return (*self._own.labels, OTHER)

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that a text may be in to be read by a model trained for it."""
        return tuple(sorted({*self._trained, *self._others}))

    @property
    def encoder(self) -> Encoder | None:
        """The encoder of the filter of its own, where it has one."""
        return getattr(self._own, "encoder", None)

    @property
    def memoryless(self) -> bool:
        """Whether all of the filters are."""
        return all(getattr(one, "memoryless", False) for one in (self._own, *self._others.values()))

    def score_many(self, items: Sequence[Item]) -> list[Scores]:
        """Return one :class:`Scores` per item, in order."""
        heard = [self._languages.of(item.text) for item in items]
        codes = [code if code in self._others and sure >= ROUTED else "" for code, sure in heard]
        found: dict[int, Scores] = {}
        for code in sorted(set(codes)):
            places = [at for at, one in enumerate(codes) if one == code]
            scored = (self._others[code] if code else self._own).score_many([items[at] for at in places])
            found |= dict(zip(places, scored, strict=True))
        return [
            self._read_by_another(found[at], code) if code else self._said(found[at], *heard[at])
            for at, code in enumerate(codes)
        ]

    def _said(self, scores: Scores, code: str, sure: float) -> Scores:
        if code in self._trained:
            return replace(scores, version=self._version, values={**scores.values, OTHER: 0.0})
        values, variants = {**scores.values, OTHER: sure}, {**scores.variants, OTHER: code}
        return replace(scores, version=self._version, values=values, variants=variants)

    def _read_by_another(self, scores: Scores, code: str) -> Scores:
        values = {label: value for label, value in scores.values.items() if label in self._own.labels}
        silent = sorted({*self._own.labels} - {*values, *scores.absent})
        return replace(
            scores,
            filter=self.name,
            version=self._version,
            values={**values, OTHER: 0.0},
            absent={
                **{label: why for label, why in scores.absent.items() if label in self._own.labels},
                **dict.fromkeys(silent, f"not scored in {code}"),
            },
            spans=tuple(span for span in scores.spans if span.label in values),
            variants={label: name for label, name in scores.variants.items() if label in values},
        )
