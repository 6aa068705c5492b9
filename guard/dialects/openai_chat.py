"""OpenAI chat completions: a request's JSON to a :class:`Chat`.

A field that is not known here is not passed on: it could carry text that nobody scored. ``logprobs`` name tokens that
may not leave, so they are never asked for and always null. ``user`` names the author and stays with us.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from guard.auth import Identity
from guard.dialects.openai_options import INSTRUCTIONS, options_of
from guard.dialects.types import MODEL_NAME, Chat, ChatRole, Message, tool_text
from guard.errors import BadRequestError

T = TypeVar("T")

_ROLES: dict[str, ChatRole] = {
    "system": "system", "developer": "developer", "user": "user", "assistant": "assistant", "tool": "tool",
    "function": "tool",
}  # fmt: skip
_READ = ("text", "refusal")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may hold at most."""

    max_body_bytes: int = 1_048_576
    max_depth: int = 32
    max_messages: int = 512
    max_text_chars: int = 100_000
    max_n: int = 8


def parse_json(body: bytes, limits: Limits) -> dict[str, Any]:
    """Return a body's JSON object, or raise :class:`BadRequestError`."""
    try:
        value = json.loads(body, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as exc:
        raise BadRequestError(
            "the body is not valid JSON: send one object in UTF-8, without NaN", code="invalid_json"
        ) from exc
    if not isinstance(value, dict):
        raise BadRequestError("the body must be a JSON object", code="invalid_json")
    _check_depth(value, limits.max_depth)
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        value = {**_without_lone_surrogates(value)}
    return value


def _without_lone_surrogates(value: Any) -> Any:  # noqa: ANN401 - JSON in, JSON out
    """Return JSON that UTF-8 can carry: half a character becomes ``?``, as no tokenizer or server could read it."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_without_lone_surrogates(name): _without_lone_surrogates(one) for name, one in value.items()}
    return [_without_lone_surrogates(one) for one in value] if isinstance(value, list) else value


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is not a number that a program can hold")
    return value


def _check_depth(value: object, max_depth: int) -> None:
    level: list[object] = [value]
    for _ in range(max_depth):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return
    raise BadRequestError(f"the body is nested deeper than {max_depth} levels", code="invalid_json")


def parse(body: Mapping[str, Any], headers: Mapping[str, str], identity: Identity, limits: Limits) -> Chat:
    """Return the chat of a parsed body, or raise :class:`BadRequestError` naming the field."""
    options = options_of(body)
    stream_options = _typed(body, "stream_options", dict, {})
    user = _typed(body, "user", str, "")
    return Chat(
        identity=identity,
        model=_model(body),
        messages=_messages(body.get("messages"), limits),
        stream=_typed(body, "stream", bool, default=False),
        n=_bounded_n(body, limits),
        seed=options.get("seed", 0),
        include_usage=bool(stream_options.get("include_usage")),
        options=options,
        instructions="\n".join(json.dumps(options[name]) for name in INSTRUCTIONS if name in options),
        author=(headers.get("x-tayguard-author", "") or user) if identity.asserts_author else "",
        conversation=headers.get("x-tayguard-conversation", ""),
        idempotency_key=headers.get("idempotency-key", ""),
        language=headers.get("accept-language", "en")[:2].lower() or "en",
    )


def _model(body: Mapping[str, Any]) -> str:
    model = _typed(body, "model", str, "")
    if model and not MODEL_NAME.fullmatch(model):
        raise BadRequestError("`model` must be at most 200 letters, digits and _./:@+-", param="model")
    return model


def _typed(body: Mapping[str, Any], name: str, kind: type[T], default: T) -> T:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadRequestError(f"`{name}` must be of type {kind.__name__}", param=name)
    return value


def _bounded_n(body: Mapping[str, Any], limits: Limits) -> int:
    n: int = _typed(body, "n", int, 1)
    if not 1 <= n <= limits.max_n:
        raise BadRequestError(f"`n` must be between 1 and {limits.max_n}", param="n")
    return n


def _messages(rows: object, limits: Limits) -> tuple[Message, ...]:
    if not isinstance(rows, list) or not rows:
        raise BadRequestError("`messages` must be a list with at least one message", param="messages")
    if len(rows) > limits.max_messages:
        raise BadRequestError(f"at most {limits.max_messages} messages; leave out the oldest", param="messages")
    ids: dict[str, str] = {}
    messages = tuple(_message(row, f"messages[{i}]", ids) for i, row in enumerate(rows))
    if sum(len(m.text) + len(m.extra) for m in messages) > limits.max_text_chars:
        raise BadRequestError(
            f"the texts of a request may have {limits.max_text_chars} characters in all", param="messages"
        )
    if not any(m.scored_text or m.unread for m in messages if m.role not in ("system", "developer")):
        raise BadRequestError("no message of a person or a tool has any content", param="messages")
    return messages


def _message(row: object, where: str, ids: dict[str, str]) -> Message:
    if not isinstance(row, dict):
        raise BadRequestError(f"`{where}` must be an object", param=where)
    role = _ROLES.get(row["role"]) if isinstance(row.get("role"), str) else None
    if role is None:
        raise BadRequestError(f"`{where}.role` must be one of {', '.join(_ROLES)}", param=f"{where}.role")
    text, unread = content_of(row.get("content"), f"{where}.content")
    calls = row.get("tool_calls") or []
    if not isinstance(calls, list) or not all(_is_tool_call(call) for call in calls):
        raise BadRequestError(f"`{where}.tool_calls` must be a list of tool calls", param=f"{where}.tool_calls")
    others = [row.get("name") or "", row.get("refusal") or "", tool_text(calls)]
    if not all(isinstance(other, str) for other in others):
        raise BadRequestError(f"`{where}.name` and `.refusal` must be strings", param=where)
    return Message(role, text, "\n".join(filter(None, others)), unread, _passed_on(row, calls, where, ids))


def _passed_on(row: Mapping[str, Any], calls: list[Any], where: str, ids: dict[str, str]) -> dict[str, Any]:
    """Return a message with just those fields whose text is scored; ids, which are not, become numbers."""
    if not all(
        isinstance(one.get(name) or "", str) for one, name in ((row, "tool_call_id"), *((c, "id") for c in calls))
    ):
        raise BadRequestError(f"an id in `{where}` is not a string", param=where)
    raw: dict[str, Any] = {"content": row.get("content")}
    if isinstance(raw["content"], list):
        raw["content"] = [
            {"type": part["type"], part["type"]: part.get("text", part.get("refusal"))}
            if part.get("type") in _READ
            else part
            for part in raw["content"]
        ]
    raw |= {name: row[name] for name in ("role", "name", "refusal") if row.get(name) is not None}
    if calls:
        raw["tool_calls"] = [_passed_on_call(call, ids) for call in calls]
    if row.get("tool_call_id") is not None:
        raw["tool_call_id"] = _numbered(row["tool_call_id"], ids)
    return raw


def _numbered(one: str, ids: dict[str, str]) -> str:
    """Return our name of a tool call's id: the same for the same, nine letters and digits as some servers demand."""
    return ids.setdefault(one, f"call{len(ids):05}") if one else ""


def _passed_on_call(call: Mapping[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    kind, names = ("custom", ("name", "input")) if "custom" in call else ("function", ("name", "arguments"))
    said = {name: call[kind].get(name, "") for name in names}
    return {"id": _numbered(call.get("id") or "", ids), "type": kind, kind: said}


def _is_tool_call(call: object) -> bool:
    if not isinstance(call, dict):
        return False
    inner = [call[name] for name in ("function", "custom") if name in call]
    return len(inner) == 1 and isinstance(inner[0], dict) and all(isinstance(v, str) for v in inner[0].values())


def content_of(content: object, where: str) -> tuple[str, int]:
    """Return the text of a message's content, and how many of its parts are not text."""
    if content is None or isinstance(content, str):
        return content or "", 0
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise BadRequestError(f"`{where}` must be a string or a list of parts", param=where)
    texts = [part.get("text", part.get("refusal")) for part in content if part.get("type") in _READ]
    if not all(isinstance(text, str) for text in texts):
        raise BadRequestError(f"a text part of `{where}` has no text", param=where)
    return "\n".join(cast("list[str]", texts)), len(content) - len(texts)
