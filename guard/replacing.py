"""What a policy wants replaced of a prompt: in the messages that the bot gets; the capture has what was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from filters.policy import barred
from filters.ranges import Range, joined, with_replaced
from filters.types import Item
from guard.dialects.types import Chat, Message
from guard.errors import TooLargeError
from guard.judging import Judge, Judgement
from guard.scoring import NotScoredError
from guard.turns import Reading, ScoredText

Ranges = Mapping[int, Sequence[Range]]
"""Position of a message to ranges of its scored text."""


class IrreplaceableError(Exception):
    """What should be replaced has no place in a message that we could rewrite: the prompt must not pass."""


async def judged_prompt(judge: Judge, chat: Chat, reading: Reading, item: Item) -> tuple[Reading, Judgement]:
    """Return the prompt as the bot gets it, and the judgement of it as it was written.

    Raises
    ------
    TooLargeError
        The new texts are more units than a request may have; not in shadow mode.
    """
    try:
        found = await judge.prompt(reading.texts, item)
    except TooLargeError as exc:
        if not judge.policy.shadow:
            raise
        return reading, judge.unread(NotScoredError("too_long", str(exc)), reading.texts, item.direction)
    try:
        ranges = ranges_of(reading.texts, found, chat.messages)
        for at in reading.again:
            ranges[at] = await _again(judge, chat.messages[at], item)
        return replaced(reading, ranges, judge.policy.message("replaced", chat.language)), found
    except IrreplaceableError as exc:
        pairs = zip(found.each, found.replaced, strict=True)
        each = tuple(barred(verdict, str(exc)) if ranges else verdict for verdict, ranges in pairs)
        return reading, replace(found, verdict=barred(found.verdict, str(exc)), each=each)


async def _again(judge: Judge, message: Message, item: Item) -> list[Range]:
    """Return what is replaced of a message whose words were before; all of it where it would not pass any more."""
    whole = [(0, len(message.scored_text))]
    try:
        found = await judge.prompt([ScoredText(message.scored_text, ())], item)
    except TooLargeError:
        return whole
    passes = found.verdict.serve != "unscored" and judge.policy.lets_through(found.verdict, item.direction)
    return joined(found.replaced[0]) if passes else whole


def ranges_of(texts: Sequence[ScoredText], judgement: Judgement, messages: Sequence[Message]) -> dict[int, list[Range]]:
    """Return what is to be replaced of each message, of texts that were judged alone and joined.

    Raises
    ------
    IrreplaceableError
        It stands in text that is no message's, as in tool descriptions.
    """
    found: dict[int, list[Range]] = {}
    for text, ranges in zip(texts, judgement.replaced, strict=True):
        if ranges and not text.messages:
            raise IrreplaceableError("words in what belongs to no message cannot be replaced")
        at = 0
        for position in text.messages:
            end = at + len(messages[position].scored_text)
            own = [(max(at, left) - at, min(end, right) - at) for left, right in ranges if left < end and at < right]
            found[position] = [*found.get(position, []), *own]
            at = end + 1  # joined by a line break
    return {position: joined(ranges) for position, ranges in found.items() if ranges}


def replaced(reading: Reading, ranges: Ranges, by: str) -> Reading:
    """Return the reading with ``by`` in the place of each range, in all that is passed on.

    Raises
    ------
    IrreplaceableError
        A range reaches into what is not plain text: names, arguments of tool calls, pictures.
    """
    passed_on = tuple(
        _rewritten(message, ranges[position], by) if ranges.get(position) else message
        for position, message in zip(reading.kept, reading.passed_on, strict=True)
    )
    return replace(reading, passed_on=passed_on, replaced=tuple(sorted(at for at, found in ranges.items() if found)))


def _rewritten(message: Message, ranges: Sequence[Range], by: str) -> Message:
    if message.unread or ranges[-1][1] > len(message.text):
        raise IrreplaceableError("words beside a message's plain text cannot be replaced")
    text = with_replaced(message.text, ranges, by)
    return replace(message, text=text, raw={**message.raw, "content": text})
