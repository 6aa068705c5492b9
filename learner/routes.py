"""Versions of an upstream that is no bot of ours: each is a model at the upstream, called by a route's name.

The pointer, rollback and audit are those of any version. What is called *version* is ``upstream:<model>``, as replies
and samples carry it. Nothing is trained here, so a route has no update and no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from learner import pointer
from learner.errors import ConflictError, UnknownIdError
from learner.pages import VersionRecord
from learner.pointer import Moves
from learner.store import Keys, Store
from learner.types import UPSTREAM, Clock, Version
from learner.updates import UpdateLog
from learner.versions import PREVIOUS, Versions, parse_time

NO_ROUTES = (
    "the upstream has no earlier version here: name its models in the settings, what is live first, like "
    '`[upstream.routes]`, `new = "model-2"`, `old = "model-1"`; start the server again, then `tayguard rollback old`'
)
NO_TRAINER = (
    "the upstream is trained elsewhere: feed its trainer from `tayguard export --state admitted`, then put the new "
    "model first in [upstream.routes] and start the server again"
)


class Routes(Versions):
    """The routes as versions. ``routes`` is name to model: the first goes live, each is the child of the next."""

    def __init__(
        self, store: Store, keys: Keys, data_dir: Path, clock: Clock, updates: UpdateLog, routes: Mapping[str, str]
    ) -> None:
        super().__init__(store, keys, data_dir, clock, updates)
        self._named = {name: UPSTREAM + model for name, model in routes.items()}
        self._ids = tuple(self._named.values())

    def ensure_live(self) -> None:
        """Put the first route live where no route is; a live route stays, so a rollback outlives a restart."""
        live = super().moves().live
        if self._ids and live not in self._ids:
            record = self._record(self._ids[0], self._clock())
            self._store.run(pointer.register(self._keys, record, self._clock(), instead_of=live))

    def moves(self) -> Moves:
        """Return pointer and switches as of one moment; the records are the routes, the oldest first."""
        found = super().moves()
        records = {version_id: self._record(version_id, 0) for version_id in reversed(self._ids)}
        return replace(found, records=records)

    def list(self) -> list[VersionRecord]:
        """Return every route, the oldest first."""
        names = {version_id: name for name, version_id in self._named.items()}
        found = {record.id: replace(record, name=names[record.id]) for record in super().list()}
        return [found[version_id] for version_id in reversed(self._ids)]

    def get(self, version_id: str) -> Version:
        """Return a model as a version, its parent that of the next route; none where the settings dropped it."""
        version_id = self._named.get(version_id, version_id)
        after = dict(zip(self._ids, self._ids[1:], strict=False))
        return Version(version_id, after.get(version_id, ""), "", "", (), "", "", "", 0)

    def resolve(self, to: str, moves: Moves | None = None) -> str:
        """Return the version that a route's name, its model, ``previous`` or a time means.

        Raises
        ------
        ConflictError
            There are no routes; the message says how to name some.
        UnknownIdError
            No route is called so.
        """
        if not self._ids:
            raise ConflictError(NO_ROUTES)
        known = {version_id.removeprefix(UPSTREAM): version_id for version_id in self._ids} | self._named
        found = known.get(to.removeprefix(UPSTREAM), "")
        if to == PREVIOUS:
            found = (moves or self.moves()).previous
        elif not found and (at_ms := parse_time(to)) is not None:
            found = self.live_at(at_ms) or ""
        if found not in self._ids:
            raise UnknownIdError(self._unknown(to))
        return found

    def verify(self, folder: Path, version: Version) -> None:  # noqa: ARG002 - as a bot verifies
        """Raise :class:`UnknownIdError` unless the settings have the route."""
        if version.id not in self._ids:
            raise UnknownIdError(self._unknown(version.id))

    def _unknown(self, name: str) -> str:
        return f"no route {name[:80]!r}: [upstream.routes] has {', '.join(self._named) or 'none'}"

    def _record(self, version_id: str, created_ms: int) -> dict[str, object]:
        parent = self.get(version_id).parent
        counts = {"rows": 0, "samples": 0, "authors": 0}
        return {"id": version_id, "parent": parent, "update": "", "created_ms": created_ms, "factory": False, **counts}
