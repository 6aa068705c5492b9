"""The parameters of a request that an upstream of OpenAI's dialect gets as they are: each by name with what it may be.

Nobody scores them, so none of them can hold a sentence, but for the operator's own texts (:data:`INSTRUCTIONS`), which
are trusted as system prompts are. A parameter that is not named here is not passed on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from guard.errors import BadRequestError

INSTRUCTIONS = ("tools", "tool_choice", "response_format", "stop")
"""Parameters that hold text."""

_MAX_INT = 2**63
_TOKEN = re.compile(r"[0-9]{1,9}")
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
_TOOL_CHOICES = ("none", "auto", "required")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_MAX_INT <= value < _MAX_INT


def _is_truth(value: object) -> bool:
    return isinstance(value, bool)


def _is_texts(value: object) -> bool:
    texts = value if isinstance(value, list) else [value]
    return len(texts) <= 16 and all(isinstance(text, str) for text in texts)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _is_bias(value: object) -> bool:
    return isinstance(value, dict) and all(_TOKEN.fullmatch(k) and _is_number(v) for k, v in value.items())


def _is_choice(value: object) -> bool:
    return isinstance(value, dict) or value in _TOOL_CHOICES


def _is_effort(value: object) -> bool:
    return value in _EFFORTS


_MAY_BE: dict[str, tuple[Callable[[object], bool], str]] = {
    "temperature": (_is_number, "a number"),
    "top_p": (_is_number, "a number"),
    "presence_penalty": (_is_number, "a number"),
    "frequency_penalty": (_is_number, "a number"),
    "max_tokens": (_is_whole, "a whole number"),
    "max_completion_tokens": (_is_whole, "a whole number"),
    "seed": (_is_whole, "a whole number of at most 64 bits"),
    "parallel_tool_calls": (_is_truth, "true or false"),
    "reasoning_effort": (_is_effort, f"one of {', '.join(_EFFORTS)}"),
    "verbosity": (_is_effort, f"one of {', '.join(_EFFORTS)}"),
    "logit_bias": (_is_bias, "an object of token numbers with numbers"),
    "stop": (_is_texts, "a string or a list of at most 16"),
    "tools": (_is_objects, "a list of objects"),
    "tool_choice": (_is_choice, f"an object or one of {', '.join(_TOOL_CHOICES)}"),
    "response_format": (_is_object, "an object"),
}


def options_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is passed on of a request's parameters.

    Raises
    ------
    BadRequestError
        One of them is not what it may be; the message names it.

    >>> options_of({"temperature": 0.5, "made_up": "text", "seed": None})
    {'temperature': 0.5}
    """
    found = {name: body[name] for name in _MAY_BE if body.get(name) is not None}
    for name, value in found.items():
        fits, what = _MAY_BE[name]
        if not fits(value):
            raise BadRequestError(f"`{name}` must be {what}", param=name)
    return found
