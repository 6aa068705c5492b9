"""The filters that the settings name, the first of which says what languages it can read."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from filters.types import Filter
from guard.settings import ConfigurationError, ScoringSettings

if TYPE_CHECKING:
    from filters.encoder import OnnxEncoder


def filters_of(settings: ScoringSettings, encoder: OnnxEncoder) -> tuple[Filter, ...]:
    """Return the filters that run, in order.

    Raises
    ------
    ConfigurationError
        A language is routed to a filter that was not trained for it.
    """
    from filters.language import ByLanguage, Languages

    made = cache(lambda name: _made(name, settings, encoder))
    first, *more = settings.filters
    others = {code: made(name) for code, name in settings.languages.items()}
    for code, one in others.items():
        trained = getattr(one, "languages", (code,))
        if code not in trained:
            raise ConfigurationError(
                f"scoring.languages: {one.name} was not trained for {code}, but for {', '.join(trained)}; of "
                'detoxify\'s models "multilingual" (scoring.detoxify_model) reads the most languages'
            )
    whole = ByLanguage(made(first), others=others, languages=Languages(encoder.vocabulary))
    return (whole, *map(made, more))


def _made(name: str, settings: ScoringSettings, encoder: OnnxEncoder) -> Filter:
    if name == "toxicity":
        from filters.toxicity import ToxicityFilter

        return ToxicityFilter(encoder)
    if name == "detoxify":
        from filters.detoxify import DetoxifyFilter

        return DetoxifyFilter(
            settings.detoxify_model,
            checkpoint=Path(settings.detoxify_file) if settings.detoxify_file else None,
            sha256=settings.detoxify_sha256,
            config_folder=Path(settings.detoxify_config) if settings.detoxify_config else None,
        )
    from filters import plugins

    return plugins.load(name)
