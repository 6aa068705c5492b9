"""OpenAI moderations: inputs in, one result per input out.

A category's score is the highest of our labels behind it that the filters give; it is ``true`` where one of them reaches
the live policy's `flag` or `block` threshold for what people say:

| category | labels |
| --- | --- |
| `harassment` | `toxicity`, `severe_toxicity`, `insult` |
| `harassment/threatening` | `threat` |
| `hate` | `identity_attack` |
| every other (`hate/threatening`, `illicit`, `illicit/violent`, `self-harm` and its two, `sexual`, `sexual/minors`, `violence`, `violence/graphic`) | none: no data, so no score |

No category stands for `obscene` or for a label of a filter of yours; they still make `flagged` true.

A category that nobody scored is ``null`` in `categories` and in `category_scores`, as OpenAI's own shape has it for
`illicit` of older models, with no input type in `category_applied_input_types`; `tayguard.unscored_categories` names it.
It is never `false` or 0: that would say "clean". The same holds for every category of a text that was not scored in
full, unless the part that was scored is over a threshold already.
"""  # noqa: E501 - a row of the table

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filters.merge import over_filters
from filters.wire import reason_to_json
from guard.auth import Identity
from guard.checking import Checked, Group
from guard.dialects.openai_chat import Limits, content_of
from guard.dialects.types import Chat, Message
from guard.errors import BadRequestError
from guard.judging import Judgement
from guard.turns import ScoredText

CATEGORIES: dict[str, tuple[str, ...]] = {
    "harassment": ("toxicity", "severe_toxicity", "insult"),
    "harassment/threatening": ("threat",),
    "hate": ("identity_attack",),
    "hate/threatening": (),
    "illicit": (),
    "illicit/violent": (),
    "self-harm": (),
    "self-harm/instructions": (),
    "self-harm/intent": (),
    "sexual": (),
    "sexual/minors": (),
    "violence": (),
    "violence/graphic": (),
}


def parse(body: Mapping[str, Any], headers: Mapping[str, str], identity: Identity, limits: Limits) -> Chat:
    """Return a chat with one message per input, or raise :class:`BadRequestError` naming the field.

    A list of content parts is one input, as it is at OpenAI; a part that is not text leaves it unscored.
    """
    model = body.get("model") or ""
    if not isinstance(model, str):
        raise BadRequestError("`model` must be a string; every name gives the filters of this guard", param="model")
    rows = body.get("input")
    if isinstance(rows, list) and rows and isinstance(rows[0], dict):
        rows = [rows]
    contents = [rows] if isinstance(rows, str) else rows
    if not isinstance(contents, list) or not contents:
        raise BadRequestError("`input` must be a string, a list of strings or a list of content parts", param="input")
    if len(contents) > limits.max_messages:
        raise BadRequestError(f"at most {limits.max_messages} inputs; send the rest apart", param="input")
    messages = tuple(_message(content) for content in contents)
    if sum(len(message.text) for message in messages) > limits.max_text_chars:
        raise BadRequestError(f"the inputs may have {limits.max_text_chars} characters in all", param="input")
    author = headers.get("x-tayguard-author", "") if identity.asserts_author else ""
    return Chat(identity, model, messages, author=author, conversation=headers.get("x-tayguard-conversation", ""))


def _message(content: object) -> Message:
    if content is None:
        raise BadRequestError("an input must be a string or a list of content parts", param="input")
    text, unread = content_of(content, "input")
    return Message("user", text, unread=unread, raw={"content": content})


def groups_of(chat: Chat) -> tuple[Group, ...]:
    """Return one group per input: inputs have nothing to do with each other."""
    return tuple(Group((ScoredText(one.text, (i,), one.unread),)) for i, one in enumerate(chat.messages))


def render(checked: Checked) -> dict[str, Any]:
    """Return OpenAI's answer; what it has no place for stands under ``tayguard``."""
    return {
        "id": f"modr-{checked.request_id}",
        "model": "tayguard",
        "results": [_result(checked, i) for i in range(len(checked.judgements))],
        "tayguard": {
            "policy": checked.policy.id,
            "policy_current": checked.current,
            "filters": dict(checked.filters),
        },
    }


def _result(checked: Checked, index: int) -> dict[str, Any]:
    judgement = checked.judgements[index]
    serving = [reason for reason in judgement.verdict.reasons if reason.purpose == "serve"]
    crossed = {reason.label for reason in serving if reason.score is not None}
    decided = _decided(judgement, crossed)
    flagged = bool(crossed) or not checked.lets_through(index)
    return {
        "flagged": flagged,
        "categories": {name: None if one is None else one[0] for name, one in decided.items()},
        "category_scores": {name: None if one is None else one[1] for name, one in decided.items()},
        "category_applied_input_types": {name: [] if one is None else ["text"] for name, one in decided.items()},
        "tayguard": {
            "verdict": judgement.verdict.serve,
            "coverage": judgement.verdict.coverage,
            "reasons": [reason_to_json(reason) for reason in serving],
            "unscored_categories": [name for name, one in decided.items() if one is None],
        },
    }


def _decided(judgement: Judgement, crossed: set[str]) -> dict[str, tuple[bool, float] | None]:
    """Return each category's decision and score, None where nobody can vouch for it."""
    values = over_filters({scores.filter: scores for scores in judgement.scores}).values
    whole = all(scores.scored for scores in judgement.scores)
    decided: dict[str, tuple[bool, float] | None] = {}
    for name, labels in CATEGORIES.items():
        over = any(label in crossed for label in labels)
        known = [values[label] for label in labels if label in values]
        decided[name] = (over, max(known)) if known and (whole or over) else None
    return decided
