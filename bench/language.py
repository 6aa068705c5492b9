"""How often English is taken for another language, and others are found: ``python -m bench.language ../shared/data``.

English are whole sets of messages, among them jigsaw_eval's, which have some sentences that really are in others; the
other languages are sentences written for this project. Writes ``bench/out/language.json``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.data import read
from bench.figures import save
from bench.language_sentences import SENTENCES
from bench.tables import percent, table
from filters.encoder import OnnxEncoder
from filters.language import Languages
from filters.policy import Policy
from filters.units import split

ENGLISH = {
    "topical_chat_valid_freq": "message",
    "clinc150_val": "text",
    "convabuse_valid": "user",
    "schema_guided_dev": "utterance",
    "jigsaw_eval": "comment_text",
}
MOST = 3_000  # rows of a set


def measured(languages: Languages, encoder: OnnxEncoder, texts: Sequence[str], limit: float) -> dict[str, Any]:
    """Return which share of texts, and of their units, the policy keeps as another language's, and a unit's cost."""
    units, kept_units, kept_texts, took_ms = 0, 0, 0, []
    for text in texts:
        kept = False
        for unit in split(text, encoder.count_tokens):
            began = time.perf_counter()
            code, sure = languages.of(unit.text)
            took_ms.append(1e3 * (time.perf_counter() - began))
            kept_units += (found := code != "en" and sure >= limit)
            kept = kept or found
            units += 1
        kept_texts += kept
    return {
        "texts": len(texts),
        "kept": round(kept_texts / len(texts), 5),
        "kept_units": round(kept_units / units, 5),
        "mean_ms": round(statistics.fmean(took_ms), 4),
    }


def shown(figures: dict[str, Any]) -> str:
    """Return the tables."""
    rows = [
        [f"{name} ({one['texts']:,})", percent(one["kept"]), percent(one["kept_units"]), f"{one['mean_ms']:.3f} ms"]
        for name, one in figures["english"].items()
    ]
    first = table(["English", "texts kept", "sentences kept", "a sentence costs"], rows)
    one = figures["others"]
    missed = ", ".join(f"{code} {share}" for code, share in one["missed"].items()) or "none"
    said = (
        f"Of {one['texts']} sentences in {one['languages']} other languages {percent(one['kept'])} are kept from "
        f"learning ({percent(one['named'])} under the right name); missed: {missed}."
    )
    return f"{first}\n\n{said}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    chosen = parser.parse_args()
    encoder = OnnxEncoder()
    languages = Languages(encoder.vocabulary)
    limit = Policy.default().thresholds["in"]["other_language"].quarantine or 1.0
    languages.of("Das Wetter ist heute schön.")  # the detector loads with its first text
    english = {
        name: measured(languages, encoder, [row[column] for row in read(chosen.data, name)][:MOST], limit)
        for name, column in ENGLISH.items()
    }
    heard = [(code, *languages.of(text)) for code, texts in SENTENCES.items() for text in texts]
    missed = [code for code, found, sure in heard if found == "en" or sure < limit]
    others = {
        "texts": len(heard),
        "languages": len(SENTENCES),
        "kept": round(1 - len(missed) / len(heard), 4),
        "named": round(sum(code == found and sure >= limit for code, found, sure in heard) / len(heard), 4),
        "missed": {code: f"{missed.count(code)} of {len(SENTENCES[code])}" for code in sorted(set(missed))},
    }
    figures = {"threshold": limit, "english": english, "others": others}
    print(shown(figures))
    print(f"\n{save('language', figures)}")


if __name__ == "__main__":
    main()
