"""Every key name of a bot, under one hash tag, so that one bot lives in one slot of a cluster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names of one bot.

    >>> Keys("tay").sample("s1")
    'tg:{tay}:sample:s1'
    """

    bot: str

    def _key(self, *parts: str) -> str:
        return ":".join(("tg", f"{{{self.bot}}}", *parts))

    @property
    def prefix(self) -> str:
        """What every key of this bot starts with; scripts build the names of rows they find from it."""
        return self._key("")

    @property
    def state(self) -> str:
        """Hash: live, previous, epoch, frozen, stopped, policy (ids; "1" is true), fence, settled, head."""
        return self._key("state")

    @property
    def log(self) -> str:
        """Stream: one entry per event, field ``e`` holds its JSON."""
        return self._key("log")

    @property
    def keys(self) -> str:
        """Hash: id of an API key to its JSON record (hashed secret, role, flags)."""
        return self._key("keys")

    @property
    def undone(self) -> str:
        """Set: versions that a rollback took back; what they answered is not learned."""
        return self._key("undone")

    @property
    def deadlines(self) -> str:
        """Sorted set: name of a key to the UTC millisecond after which the learner deletes it."""
        return self._key("deadlines")

    @property
    def versions(self) -> str:
        """Hash: version id to its JSON record (metrics, gate outcome, promotion)."""
        return self._key("versions")

    @property
    def learned(self) -> str:
        """Hash: update to the version that it made, of all that were promoted."""
        return self._key("learned")

    @property
    def moves(self) -> str:
        """Sorted set: ``<n>:<version>`` of each move of the live pointer, scored by its UTC millisecond."""
        return self._key("moves")

    @property
    def lease(self) -> str:
        """Hash: holder, until_ms, token of the one learner."""
        return self._key("lease")

    def policy(self, policy_id: str) -> str:
        """Name the string with the canonical JSON of one policy, immutable."""
        return self._key("policy", policy_id)

    def exchange(self, request_id: str) -> str:
        """Hash: author, version, time, sample of an exchange while feedback may name it; its body is in the log."""
        return self._key("exchange", request_id)

    def sample(self, sample_id: str) -> str:
        """Hash: one sample (see learner.types.Sample)."""
        return self._key("sample", sample_id)

    def in_state(self, state: str) -> str:
        """Sorted set: ids of the samples in a state; scored by due time when held, else by time of entry.

        Admitted samples that an update has drawn are in the set of ``drawn`` instead.
        """
        return self._key("in", state)

    def by_author(self, author: str) -> str:
        """Set: ids of an author's samples in motion."""
        return self._key("by-author", author)

    def by_version(self, version: str) -> str:
        """Set: ids of the samples in motion whose reply a version gave."""
        return self._key("by-version", version)

    def author(self, author: str) -> str:
        """Hash: first_ms, released, discarded."""
        return self._key("author", author)

    def pattern(self, pattern: str) -> str:
        """Hash of a pair: author to samples, ``f:`` author to feedback, ``*`` representative, ``!`` a discarded one."""
        return self._key("pattern", pattern)

    def conversation(self, conversation: str) -> str:
        """Hash: lock, turns, last reply with its request and version, ``m:`` message HMAC to what became of it."""
        return self._key("conversation", conversation)

    def message_order(self, conversation: str) -> str:
        """List: HMACs of a conversation's messages, oldest first, so that the oldest can be let go."""
        return self._key("order", conversation)

    def prefix_of(self, hmac: str) -> str:
        """Name the string with the conversation whose messages so far have this HMAC."""
        return self._key("prefix", hmac)

    def idempotency(self, hmac: str) -> str:
        """Hash: the answer given to one Idempotency-Key."""
        return self._key("idempotency", hmac)

    def drawn(self, day: str) -> str:
        """Hash: author, conversation or ``*`` to the samples drawn on one UTC day."""
        return self._key("drawn", day)

    @property
    def sample_deadlines(self) -> str:
        """Sorted set: id of a sample in motion to the UTC millisecond at which it expires."""
        return self._key("sample-deadlines")

    def feedback(self, request_id: str) -> str:
        """Hash: author to the rating given to one exchange."""
        return self._key("feedback", request_id)

    def fed(self, day: str) -> str:
        """Hash: author to the number of ratings given on one UTC day."""
        return self._key("fed", day)

    def decision(self, actor: str) -> str:
        """Name the string with the JSON of an actor's last decision on samples, for its undo."""
        return self._key("decision", actor)

    def score(self, hmac: str) -> str:
        """Name the string with a unit's packed scores; the HMAC is of all that they depend on."""
        return self._key("score", hmac)

    @property
    def scores(self) -> str:
        """Sorted set: HMACs of the units whose scores are kept, by the UTC millisecond at which they were."""
        return self._key("scores")
