"""JSON Pointers (RFC 6901): read a value where one points, and build JSON in which it stands there."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

_POINTER = re.compile(r"(/([^~/]|~[01])*)*")
_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")


def tokens_of(pointer: str) -> tuple[str, ...]:
    """Return a pointer's reference tokens; raises :class:`ValueError` where it is none.

    >>> tokens_of("/a~1b/0/m~0n")
    ('a/b', '0', 'm~n')
    """
    if not _POINTER.fullmatch(pointer):
        raise ValueError(f"{pointer!r} is no JSON pointer: begin it with /, as in /message/text")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


def is_index(token: str) -> bool:
    """Return whether a token may be a position in a list.

    >>> is_index("0"), is_index("01"), is_index("-")
    (True, False, False)
    """
    return bool(_INDEX.fullmatch(token))


def look(document: object, pointer: str) -> Any:  # noqa: ANN401 - JSON is anything
    """Return the value where a pointer points; raises :class:`LookupError` where nothing stands.

    >>> look({"a": [{"b": 1}]}, "/a/0/b")
    1
    """
    value = document
    for token in tokens_of(pointer):
        if isinstance(value, dict):
            value = value[token]
        elif isinstance(value, list) and is_index(token):
            value = value[int(token)]
        else:
            raise LookupError(f"nothing stands at {pointer}")
    return value


def built(values: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON is anything
    """Return the JSON in which each value stands where its pointer points; a number in a pointer is a list's position.

    Raises :class:`ValueError` where two pointers cannot stand in one document.

    >>> built({"/messages/0/text": "hi", "/n": 1})
    {'messages': [{'text': 'hi'}], 'n': 1}
    """
    root: dict[str, Any] = {}
    for pointer in sorted(values, key=_order):
        tokens = tokens_of(pointer)
        if not tokens or is_index(tokens[0]):
            raise ValueError(f"{pointer!r} must name a field of an object")
        node: Any = root
        for token, after in pairwise(tokens):
            node = _child(node, token, [] if is_index(after) else {}, pointer)
        if _child(node, tokens[-1], values[pointer], pointer) is not values[pointer]:
            raise ValueError(f"{pointer!r} points where another value stands")
    return root


def _order(pointer: str) -> list[tuple[int, str]]:
    return [(int(token) if is_index(token) else -1, token) for token in tokens_of(pointer)]


def _child(node: Any, token: str, fresh: Any, pointer: str) -> Any:  # noqa: ANN401 - JSON is anything
    """Return what stands under a token, ``fresh`` where nothing did."""
    if isinstance(node, dict):
        return node.setdefault(token, fresh)
    if not isinstance(node, list) or not is_index(token) or int(token) > len(node):
        raise ValueError(f"{pointer!r} does not fit the pointers beside it; a list begins at 0 and has no gaps")
    if int(token) == len(node):
        node.append(fresh)
    return node[int(token)]
