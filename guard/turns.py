"""What of a chat request is scored, what is passed on, and by which keyed hashes a conversation is known.

Scored are every message of a person or a tool after the last reply that we served, and every earlier one that this
conversation has not shown us before, joined and alone. Where nothing is new, the last of them are scored again. A reply
that we did not serve counts as a person's text: it may have been made up. System and developer messages are trusted by
setting.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from guard.dialects.types import TRUSTED_ROLES, Answer, Chat, Message, tool_text
from learner.session import Seen
from learner.types import Turn

Hashed = Callable[[str, str], str]

MAX_PREFIXES = 16
"""Replies, the newest first, by which a conversation is looked for; one that rewrites more than these starts anew."""


@dataclass(frozen=True, slots=True)
class Names:
    """The keyed hashes of one request: everything the store may know of who wrote what.

    ``author`` is the key's where nobody is asserted. ``prefixes`` end in an assistant turn, newest first;
    ``chain`` is that of the whole request, from which the next one is made.
    """

    author: str
    anonymous: bool
    conversation: str | None
    messages: tuple[str, ...]
    prefixes: tuple[str, ...]
    chain: str
    idempotency: str | None


@dataclass(frozen=True, slots=True)
class ScoredText:
    """One text to score. ``messages`` are the positions of the messages it is made of; ``unread`` their other parts."""

    text: str
    messages: tuple[int, ...]
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """A request as we read it: what is scored, what is passed on, and what a learner may learn from it.

    ``prompt`` is the new text as a whole. ``previous`` is the turn that it answers, empty where we cannot vouch for it.
    ``kept`` are the positions of what is passed on, ``again`` those of earlier messages whose words were replaced, to
    be replaced once more, ``replaced`` those whose words are.
    """

    texts: tuple[ScoredText, ...]
    passed_on: tuple[Message, ...]
    prompt: str
    previous: str
    kept: tuple[int, ...] = ()
    again: tuple[int, ...] = ()
    replaced: tuple[int, ...] = ()

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What is passed on, as a bot sees it."""
        return tuple(Turn("system" if m.role == "developer" else m.role, m.scored_text) for m in self.passed_on)


def names_of(chat: Chat, hashed: Hashed) -> Names:
    """Return the keyed hashes of a request."""
    key_id = chat.identity.key_id
    author = hashed(chat.author, "author") if chat.author else hashed(key_id, "key")
    chain = hashed(json.dumps([key_id, chat.author]), "prefix")
    prefixes = []
    for message in chat.messages:
        if message.role in TRUSTED_ROLES:
            continue
        chain = hashed(chain + _fingerprint(message), "prefix")
        if message.role == "assistant":
            prefixes.append(chain)
    conversation = hashed(json.dumps([key_id, chat.conversation]), "conversation") if chat.conversation else None
    claim = json.dumps([key_id, chat.author, chat.idempotency_key])
    return Names(
        author=author,
        anonymous=not chat.author,
        conversation=conversation,
        messages=tuple(hashed(_fingerprint(message), "message") for message in chat.messages),
        prefixes=tuple(reversed(prefixes[-MAX_PREFIXES:])),
        chain=chain,
        idempotency=hashed(claim, "idempotency") if chat.idempotency_key else None,
    )


def _fingerprint(message: Message) -> str:
    unread = message.raw.get("content") if message.unread else None
    return json.dumps([message.role, message.text, message.extra, unread], sort_keys=True)


def reply_names(names: Names, answer: Answer, hashed: Hashed) -> tuple[tuple[str, ...], str]:
    """Return the hash of each served choice as a message, and the prefix that the first one ends."""
    served = []
    for _, choice in sorted(answer.choices.items()):
        extra = "\n".join(filter(None, (choice.refusal, tool_text(choice.tools))))
        served.append(_fingerprint(Message("assistant", choice.text, extra)))
    first = served[0] if served else _fingerprint(Message("assistant", ""))
    return tuple(hashed(text, "message") for text in served), hashed(names.chain + first, "prefix")


def read(
    chat: Chat,
    seen: Sequence[Seen],
    *,
    last_reply: str,
    trust_system: bool,
    shadow: bool = False,
) -> Reading:
    """Return how a request is read, given what became of each of its messages before; ``shadow`` leaves nothing out.

    ``last_reply`` is the stored turn before where it was clean: only what answers it may be learned. A client
    that sends no history is taken to answer it.
    """
    messages = chat.messages
    kept = [i for i in range(len(messages)) if shadow or not _left_out(i, messages, seen)]
    people = [i for i in kept if not (trust_system and messages[i].role in TRUSTED_ROLES)]
    served = [i for i in people if messages[i].role == "assistant" and seen[i] == "served"]
    last = served[-1] if served else -1
    new = [i for i in people if i > last]
    again = not new
    if again:  # nothing new: the reply goes on from what was said last, which is judged again
        before = served[-2] if len(served) > 1 else -1
        new = [i for i in people if before < i < last] or people[-1:]
    unseen = [i for i in people if i < new[0] and not seen[i]] if new else []
    prompt = "\n".join(messages[i].scored_text for i in new if messages[i].scored_text)
    answers_it = messages[last].text == last_reply if served else len(people) == 1
    learnable = not again and answers_it and all(messages[i].role == "user" for i in new)
    return Reading(
        texts=(*_texts(messages, new, unseen), *(() if trust_system else _instructions(chat))),
        passed_on=tuple(messages[i] for i in kept),
        prompt=prompt,
        previous=last_reply if learnable else "",
        kept=tuple(kept),
        again=tuple(i for i in kept if seen[i] == "replaced" and i not in new and not shadow),
    )


def _texts(messages: Sequence[Message], new: Sequence[int], unseen: Sequence[int]) -> tuple[ScoredText, ...]:
    alone = [ScoredText(messages[i].scored_text, (i,), messages[i].unread) for i in (*new, *unseen)]
    if len(alone) < 2:
        return tuple(alone)
    together = sorted((*new, *unseen))
    joined = "\n".join(messages[i].scored_text for i in together)
    return (ScoredText(joined, tuple(together)), *alone)


def _instructions(chat: Chat) -> tuple[ScoredText, ...]:
    return (ScoredText(chat.instructions, ()),) if chat.instructions else ()


def _left_out(i: int, messages: Sequence[Message], seen: Sequence[Seen]) -> bool:
    """Return whether a message stays behind: one that was blocked before, or our answer to nothing but such ones.

    The newest message never does: sent again, it is scored again.
    """
    if i == len(messages) - 1:
        return False
    if messages[i].role != "assistant" or seen[i] != "served":
        return seen[i] == "blocked"
    before = []
    for j in range(i - 1, -1, -1):
        if messages[j].role == "assistant" and seen[j] == "served":
            break
        if messages[j].role not in TRUSTED_ROLES:
            before.append(seen[j])
    return bool(before) and all(state == "blocked" for state in before)
