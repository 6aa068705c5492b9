"""What a person may do to the guard, once: the command line and the admin API are two faces of these functions.

Every method returns plain JSON values and raises the learner's errors. Actors are recorded with what they did.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from guard.auth import list_keys, new_secret, put_key, record_for, revoke_key
from guard.wiring import Wiring, now_ms
from learner import audit, lease, policies, session
from learner.errors import ConflictError, LearnerError, UnknownIdError
from learner.outcomes import MoveOutcome
from learner.queue import Query
from learner.samples import risk_of
from learner.segments import Head
from learner.types import FACTORY, Sample, SampleState, Turn
from learner.versions import parse_time

Json = dict[str, Any]
ExportOf = Literal["samples", "exchanges"]
_AGAIN_S = 0.25
_JUST_MS = 60_000


class Operations:
    """Review, versions, rollback, switches, policy, keys and audit over one wiring."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    # Review

    def samples(
        self,
        *,
        state: str = "quarantined",
        label: str | None = None,
        author: str | None = None,
        cohort: str | None = None,
        since: str | None = None,
        order: Literal["risk", "uncertainty", "age"] = "risk",
        limit: int = 50,
    ) -> list[Json]:
        """Return samples in a state; ``author`` is a name as clients send it, or its keyed hash."""
        known: dict[str, SampleState | None] = {name: name for name in _STATES} | {"all": None}
        if state not in known:
            raise UnknownIdError(f"no state is called {state[:40]!r}: choose from {', '.join(known)}")
        query = Query(state=known[state], label=label, cohort=cohort, since_ms=moment(since), order=order, limit=limit)
        buffer = self._wiring.buffer
        for hashed in self._author_names(author):
            found = buffer.find(dataclasses.replace(query, author=hashed))
            if found:
                return [sample_row(sample) for sample in found]
        return []

    def _author_names(self, author: str | None) -> tuple[str | None, ...]:
        return (None,) if author is None else (author, self._wiring.hashed(author, "author"))

    def sample(self, sample_id: str) -> Json:
        """Return a sample with its scores, what its row notes, its history, and what the bot answered."""
        wiring = self._wiring
        sample = wiring.buffer.get(sample_id)
        history = [_event(event) for event in wiring.trail.history(sample_id)]
        return {
            **sample_row(sample),
            "scores": dict(sample.scores),
            "notes": wiring.buffer.notes(sample_id),
            "history": history,
            "answer": self._answer(sample.request_id),
        }

    def _answer(self, request_id: str) -> str:
        try:
            return self._wiring.trail.exchange(request_id).reply
        except UnknownIdError:
            return ""

    def decide(
        self, what: Literal["release", "discard", "reopen"], ids: Sequence[str], actor: str, reason: str
    ) -> list[Json]:
        """Release, discard or reopen samples; one outcome per id."""
        buffer = self._wiring.buffer
        verbs = {"release": buffer.release, "discard": buffer.discard, "reopen": buffer.reopen}
        return [_outcome(outcome) for outcome in verbs[what](ids, actor, reason)]

    def undo_review(self, actor: str) -> list[Json]:
        """Revert the actor's last decision."""
        return [_outcome(outcome) for outcome in self._wiring.buffer.undo(actor)]

    # Versions and rollback

    def versions(self) -> list[Json]:
        """Return every version, the oldest first."""
        return [plain(record) for record in self._wiring.versions.list()]

    def version(self, version: str) -> Json:
        """Return a version's page."""
        return record(self._wiring.versions.show(version))

    def version_diff(self, first: str, second: str) -> Json:
        """Return what two versions do not share."""
        return record(self._wiring.versions.diff(first, second))

    def live_at(self, when: str) -> Json:
        """Return which version was live at a time."""
        at_ms = moment(when)
        return {"at_ms": at_ms, "version": self._wiring.versions.live_at(at_ms or 0)}

    def learn_once(self, wait_s: float = 30.0) -> Json:
        """Make one update now; waits for a learner that is at work."""
        wiring = self._wiring
        end = time.monotonic() + wait_s
        wiring.end_dead_lease()
        try:
            while (outcome := wiring.trainer.run_once()).kind == "busy" and time.monotonic() < end:
                time.sleep(_AGAIN_S)
        finally:
            wiring.store.run(lease.release(wiring.keys, wiring.holder, now_ms()))
        text = outcome.text
        if outcome.kind == "nothing" and (just := self._just_learned()):
            text = f"{text}; the server's learner was quicker: version {just[:12]} is live"
        return {**plain(outcome), "text": text, "gate": outcome.gate.to_json() if outcome.gate else None}

    def _just_learned(self) -> str:
        """Return the live version if it was promoted within the last minute, else an empty text."""
        moves = self._wiring.versions.moves()
        at_ms, version = moves.moves[-1] if moves.moves else (0, "")
        recent = now_ms() - at_ms < _JUST_MS and version == moves.live
        return version if recent and moves.records.get(version, {}).get("parent") else ""

    def rollback_preview(self, to: str) -> Json:
        """Return what a rollback would do."""
        return record(self._wiring.rollback.preview(to))

    def rollback(self, to: str, actor: str, reason: str) -> Json:
        """Roll back."""
        return record(self._wiring.rollback.apply(to, actor, reason))

    def rollback_undo(self, actor: str, reason: str) -> Json:
        """Reverse the last rollback."""
        return record(self._wiring.rollback.undo(actor, reason))

    def switch(self, what: Literal["freeze", "thaw", "stop", "start"], actor: str, reason: str) -> Json:
        """Freeze or thaw learning; stop or start answering, the latter through the gate."""
        wiring = self._wiring
        if what == "start" and wiring.settings.upstream.external:
            return {"done": what, "epoch": wiring.rollback.start_ungated(actor, reason)}
        if what == "start":
            report = wiring.rollback.start(actor, reason, wiring.gate, wiring.references)
            return {"done": what, "gate": report.to_json()}
        verbs = {"freeze": wiring.rollback.freeze, "thaw": wiring.rollback.thaw, "stop": wiring.rollback.stop}
        return {"done": what, "epoch": verbs[what](actor, reason)}

    def status(self) -> Json:
        """Return the pointer, the switches and how many samples each state holds."""
        wiring = self._wiring
        return {
            "bot": wiring.settings.bot.id,
            "pointer": plain(wiring.store.run(session.pointer(wiring.keys))),
            "samples": wiring.buffer.counts(),
        }

    # Trace and export

    def trace_request(self, request_id: str) -> Json:
        """Return an exchange and the rows behind its reply."""
        wiring = self._wiring
        exchange = wiring.trail.exchange(request_id)
        found: list[Json] = []
        if exchange.version and not exchange.version.startswith("upstream:"):
            turns = [Turn("assistant", exchange.previous)] if exchange.previous else []
            version = wiring.versions.resolve(exchange.version)
            evidence = wiring.trace.behind(version, [*turns, Turn("user", exchange.prompt)])
            found = [plain(row) for row in evidence]
        return {"exchange": plain(exchange), "evidence": found}

    def served_by(self, version: str, limit: int = 1000) -> list[Json]:
        """Return the exchanges that a version answered."""
        wiring = self._wiring
        resolved = version if version.startswith("upstream:") else wiring.versions.resolve(version)
        names = {resolved} | ({FACTORY} if version == FACTORY else set())
        rows = (row for row in self.export("exchanges") if row["version"] in names)
        kept = ("request_id", "conversation", "author", "version", "finished_ms", "prompt", "reply")
        return [{name: row[name] for name in kept} for row, _ in zip(rows, range(limit), strict=False)]

    def export(self, what: ExportOf, state: str = "admitted") -> Iterator[Json]:
        """Yield samples in a state with their lineage, or every exchange, the oldest first."""
        if what == "samples":
            yield from self.samples(state=state, order="age", limit=10_000_000)
            return
        from learner.samples import exchange_from_json

        for event in self._wiring.trail.events(bodies=True):
            if event.type == "exchange":
                yield plain(exchange_from_json(event.data["exchange"]))

    # Policy

    def policy_check(self, text: str) -> Json:
        """Return the id of a policy's text; raises PolicyError."""
        from filters.policy import Policy

        return {"policy": Policy.from_toml(text).id}

    def policy_diff(self, text: str) -> Json:
        """Return which samples in motion a policy would judge otherwise than the live one."""
        from filters.policy import Policy
        from learner.judge import judge_of

        new, old = Policy.from_toml(text), self._wiring.policy()
        if old is None:
            raise ConflictError("no policy is live yet: start the server once")
        before, after = judge_of(old), judge_of(new)
        changed = []
        for sample in self._wiring.buffer.find(Query(state=None, order="age", limit=10_000_000)):
            first, second = before(sample), after(sample)
            if first != second:
                changed.append({"id": sample.id, "state": sample.state, "before": first, "after": second})
        return {"live": old.id, "policy": new.id, "same": old.id == new.id, "changed": changed}

    def policy_apply(self, text: str, actor: str, reason: str) -> Json:
        """Make a policy live."""
        from filters.policy import Policy

        return self._apply(Policy.from_toml(text), actor, reason)

    def policy_rollback(self, actor: str, reason: str) -> Json:
        """Make the policy before this one live again."""
        from filters.policy import Policy

        wiring = self._wiring
        previous = wiring.store.run(policies.read(wiring.keys)).previous
        if not previous:
            raise ConflictError("no policy was live before this one")
        stored = wiring.store.run(policies.read(wiring.keys, previous))
        return self._apply(Policy.from_json(stored.json), actor, reason or "rollback")

    def _apply(self, policy: Any, actor: str, reason: str) -> Json:  # noqa: ANN401 - filters.policy is imported late
        wiring = self._wiring
        call = policies.apply(wiring.keys, policy.id, policy.to_json(), actor=actor, reason=reason, at_ms=now_ms())
        return record(wiring.store.run(call))

    def policy(self) -> Json:
        """Return the live policy's id and the id of the one before."""
        stored = self._wiring.store.run(policies.read(self._wiring.keys))
        return {"policy": stored.live, "previous": stored.previous}

    # Keys and audit

    def key_create(self, roles: Sequence[str], *, asserts_author: bool, note: str, actor: str) -> Json:
        """Make a key; its secret is in the answer, and nowhere else."""
        secret = new_secret()
        record = record_for(secret, roles, asserts_author=asserts_author, note=note, created_ms=now_ms())
        self._wiring.store.run(put_key(self._wiring.keys, record, actor=actor, at_ms=now_ms()))
        return {**_key(plain(record)), "key": secret}

    def key_list(self) -> list[Json]:
        """Return every key without its hash."""
        return [_key(plain(record)) for record in self._wiring.store.run(list_keys(self._wiring.keys))]

    def key_revoke(self, key_id: str, actor: str) -> Json:
        """Revoke a key; every worker knows within two seconds."""
        return {"revoked": self._wiring.store.run(revoke_key(self._wiring.keys, key_id, actor=actor, at_ms=now_ms()))}

    def audit(self, limit: int = 50) -> list[Json]:
        """Return the last events, without texts."""
        events = list(self._wiring.trail.events())
        return [_event(event) for event in events[-limit:]]

    def audit_verify(self, head: str = "") -> Json:
        """Return whether the chain is unbroken; ``head`` is one exported earlier."""
        try:
            expected = Head.parse(head) if head else None
        except (ValueError, LearnerError) as exc:
            raise UnknownIdError(f"{head[:80]!r} is no head: give what `tayguard audit --verify` printed") from exc
        report = audit.verify(self._wiring.data_dir, expected)
        return {"whole": report.whole, "entries": report.entries, "head": str(report.head), "problem": report.problem}


_STATES: tuple[SampleState, ...] = (
    "held", "admitted", "quarantined", "discarded", "expired", "revoked", "forgotten",
)  # fmt: skip


def record(value: object) -> Json:
    """Return one dataclass as a JSON object."""
    found: Json = plain(value)
    return found


def plain(value: Any) -> Any:  # noqa: ANN401 - any value to its JSON
    """Return dataclasses, mappings and sequences as plain JSON values.

    >>> plain({"a": (1, 2), "b": frozenset({3})})
    {'a': [1, 2], 'b': [3]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(inner) for inner in value)
    return value


def moment(text: str | None) -> int | None:
    """Return a time as UTC milliseconds; raises UnknownIdError when it is none."""
    if text is None:
        return None
    at_ms = parse_time(text)
    if at_ms is None:
        raise UnknownIdError(f"{text[:40]!r} is no time: write it like 2026-03-23T14:00")
    return at_ms


def sample_row(sample: Sample) -> Json:
    """Return a sample as reviewers see it."""
    row = plain(sample)
    row.pop("scores")
    return {**row, "reasons": [dict(reason) for reason in sample.reasons], "risk": round(risk_of(sample), 4)}


def _outcome(outcome: MoveOutcome) -> Json:
    return record(outcome)


def _event(event: audit.Event) -> Json:
    return {"id": event.id, "at_ms": event.at_ms, "type": event.type, "actor": event.actor, "reason": event.reason}


def _key(row: Mapping[str, Any]) -> Json:
    return {name: value for name, value in row.items() if name != "secret_sha256"}
