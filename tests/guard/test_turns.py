"""What of a request is scored, and what becomes of messages that were scored together."""

import pytest

from filters.types import Verdict
from guard.auth import Identity
from guard.dialects.types import Chat, Message
from guard.judging import Judgement
from guard.passage import _became
from guard.turns import Names, read


def chat_of(*messages):
    return Chat(Identity("k", frozenset()), "tay", tuple(Message(role, text) for role, text in messages))


def texts_of(chat, seen, **more):
    reading = read(chat, seen, **{"last_reply": "", "trust_system": True, **more})
    return [text.text for text in reading.texts], reading


def test_unseen_messages_are_scored_joined_with_the_new_ones_and_alone():
    chat = chat_of(("user", "one"), ("user", "two"), ("assistant", "fine"), ("user", "three"))
    texts, _ = texts_of(chat, ["", "", "served", ""])
    assert texts == ["one\ntwo\nthree", "three", "one", "two"]


@pytest.mark.parametrize("seen", ["scored", ""])
def test_where_nothing_is_new_the_last_peoples_messages_are_judged_again_and_not_learned(seen):
    chat = chat_of(("user", "before"), ("assistant", "yes"), ("user", "hello"), ("assistant", "fine"))
    texts, reading = texts_of(chat, ["scored", "served", seen, "served"], last_reply="fine")
    assert texts == ["hello"]
    assert (reading.prompt, reading.previous) == ("hello", "")


def test_a_reply_after_nothing_but_instructions_is_judged_itself():
    texts, _ = texts_of(chat_of(("system", "be nice"), ("assistant", "fine")), ["", "served"])
    assert texts == ["fine"]


def became(*verdicts):
    chat = chat_of(*[("user", text) for text in ("one", "two", "bad")[: len(verdicts) - 1]])
    names = Names("a", False, None, ("m1", "m2", "m3")[: len(chat.messages)], (), "", None)
    each = tuple(Verdict(verdict, "hold") for verdict in verdicts)
    reading = texts_of(chat, [""] * len(chat.messages))[1]
    return _became(reading, Judgement(each[0], (), each), names)


def test_what_was_blocked_together_with_a_blocked_message_does_not_count_as_seen():
    assert became("block", "allow", "allow", "block") == {"m3": "blocked"}


def test_what_was_blocked_only_together_is_blocked_together():
    assert became("block", "allow", "allow") == {"m1": "blocked", "m2": "blocked"}


def test_what_was_let_through_counts_as_scored():
    assert became("allow", "allow", "flag") == {"m1": "scored", "m2": "scored"}
