"""Our own shape: messages in, verdicts with reasons out, per message and over all.

A person's or a tool's message is judged as what goes in, an assistant's as the reply to the messages before it.
``direction`` overrules that for every message: with ``in`` the verdict is the one that the proxy gives a chat request
of these messages, where an assistant turn may have been made up. What stands together is read joined and alone, and
system prompts are trusted, as there. Offsets of spans are characters of the text judged: a message's text, then its
name, refusal and tool calls on lines of their own; of a run, its messages joined by line breaks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from filters.policy import worst_learn
from filters.types import Direction, Verdict
from filters.wire import reason_to_json
from guard.auth import Identity
from guard.checking import Checked, Group
from guard.dialects import openai_chat
from guard.dialects.openai_chat import Limits
from guard.dialects.types import TRUSTED_ROLES, Chat
from guard.errors import BadRequestError
from guard.turns import ScoredText, read
from learner.session import Seen

KNOWN = ("messages", "direction")
DIRECTIONS = ("in", "out")


def parse(
    body: Mapping[str, Any], headers: Mapping[str, str], identity: Identity, limits: Limits
) -> tuple[Chat, Direction | None]:
    """Return the messages as a chat, and the direction where one is given; raises :class:`BadRequestError`."""
    unknown = sorted(set(body) - set(KNOWN))
    if unknown:
        raise BadRequestError(
            f"unknown field {unknown[0]!r:.80}; there are {' and '.join(KNOWN)}", param=f"{unknown[0]:.80}"
        )
    direction = body.get("direction")
    if direction not in (None, *DIRECTIONS):
        raise BadRequestError("`direction` must be `in` or `out`", param="direction")
    chat = openai_chat.parse({"messages": body.get("messages")}, headers, identity, limits)
    return chat, cast("Direction | None", direction)


def groups_of(chat: Chat, direction: Direction | None, *, trust_system: bool) -> tuple[Group, ...]:
    """Return what is judged together: runs of messages that go in, and each reply."""
    groups: list[Group] = []
    run: list[int] = []
    prompt: str | None = None
    for i, message in enumerate(chat.messages):
        if trust_system and message.role in TRUSTED_ROLES:
            continue
        if (direction or ("out" if message.role == "assistant" else "in")) == "in":
            run.append(i)
            continue
        if run:
            groups.append(_run(chat, run))
            prompt, run = "\n".join(filter(None, (chat.messages[j].scored_text for j in run))), []
        groups.append(_reply(chat, i, prompt))
    return tuple([*groups, _run(chat, run)] if run else groups)


def _run(chat: Chat, positions: Sequence[int]) -> Group:
    """Return a run as the proxy reads a request of these messages alone."""
    alone = replace(chat, messages=tuple(chat.messages[i] for i in positions))
    nothing_seen: list[Seen] = ["" for _ in positions]
    texts = read(alone, nothing_seen, last_reply="", trust_system=False).texts
    return Group(tuple(replace(text, messages=tuple(positions[i] for i in text.messages)) for text in texts))


def _reply(chat: Chat, i: int, prompt: str | None) -> Group:
    """Return a reply as hold-back reads it: its words, and what is not said in words."""
    message = chat.messages[i]
    texts = [ScoredText(message.text, (i,), message.unread)]
    if message.extra:
        texts.append(ScoredText(message.extra, (i,)))
    return Group(tuple(texts), "out", prompt)


def render(chat: Chat, checked: Checked) -> dict[str, Any]:
    """Return the answer: the worst verdict of all with every group's reasons, then each message by itself."""
    verdicts = [one.verdict for one in checked.judgements]
    pairs = list(zip(checked.groups, verdicts, strict=True))
    through = [checked.lets_through(index) for index in range(len(verdicts))]
    return {
        "id": checked.request_id,
        "verdict": {"serve": checked.serve, "learn": worst_learn(*(verdict.learn for verdict in verdicts))},
        "let_through": all(through),
        "reasons": [
            {**reason_to_json(reason), "messages": list(group.messages)}
            for group, verdict in pairs
            for reason in verdict.reasons
        ],
        "coverage": checked.coverage,
        "policy": checked.policy.id,
        "policy_current": checked.current,
        "filters": dict(checked.filters),
        "messages": [_message(chat, checked, i) for i in range(len(chat.messages))],
    }


def _message(chat: Chat, checked: Checked, i: int) -> dict[str, Any]:
    head = {"index": i, "role": chat.messages[i].role}
    for group, judgement in zip(checked.groups, checked.judgements, strict=True):
        if i in group.messages:
            alone = [one for text, one in zip(group.texts, judgement.each, strict=True) if text.messages == (i,)]
            verdict = judgement.verdict if len(group.messages) == 1 else alone[0]
            return {**head, "trusted": False, "direction": group.direction, **_verdict(checked, group, verdict)}
    return {**head, "trusted": True, "direction": None, "verdict": None, "reasons": [], "coverage": None}


def _verdict(checked: Checked, group: Group, verdict: Verdict) -> dict[str, Any]:
    return {
        "verdict": {"serve": verdict.serve, "learn": verdict.learn},
        "let_through": checked.policy.lets_through(verdict, group.direction),
        "reasons": [reason_to_json(reason) for reason in verdict.reasons],
        "coverage": verdict.coverage,
    }
