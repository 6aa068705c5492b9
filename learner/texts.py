"""Where texts of people are written and read: the one place that a store's bytes of them pass through.

Texts are hostile: any code point may be in them, lone surrogates too. :func:`dumps` keeps every one, so that what is
read is what was written. A later issue encrypts per author in :func:`seal_text` and :func:`open_text`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

SEALED_FIELDS = ("prompt", "reply", "previous", "comment")
"""Names of the fields of exchanges, samples and feedback that hold a person's or the bot's words."""


def seal_text(text: str, author: str) -> str:  # noqa: ARG001 - the author's key, from a later issue on
    """Return ``text`` as it is stored for ``author``."""
    return text


def open_text(stored: str, author: str) -> str:  # noqa: ARG001 - the author's key, from a later issue on
    """Return the text that :func:`seal_text` stored for ``author``."""
    return stored


def seal_fields(row: Mapping[str, Any], author: str) -> dict[str, Any]:
    """Return a copy of ``row`` with its texts sealed."""
    return {k: seal_text(v, author) if k in SEALED_FIELDS and isinstance(v, str) else v for k, v in row.items()}


def open_fields(row: Mapping[str, Any], author: str) -> dict[str, Any]:
    """Return a copy of ``row`` with its texts opened."""
    return {k: open_text(v, author) if k in SEALED_FIELDS and isinstance(v, str) else v for k, v in row.items()}


def dumps(value: Any) -> str:  # noqa: ANN401 - any JSON value
    r"""Return compact JSON that UTF-8 can carry: characters as they are, all escaped if a lone surrogate is among them.

    >>> dumps({"a": "é"})
    '{"a":"é"}'
    >>> dumps("\ud800é")
    '"\\ud800\\u00e9"'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text


def plain(name: str) -> str:
    r"""Return a name, actor or reason that every layer can carry; lone surrogates become ``?``.

    >>> plain("a\ud800")
    'a?'
    """
    return name.encode("utf-8", "replace").decode()
