"""Versions: what there is, what was live when, what each learned from. Files hold versions, Redis their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from learner import pointer
from learner.errors import CorruptError, UnknownIdError
from learner.manifest import read_version
from learner.pages import VersionDiff, VersionPage, VersionRecord
from learner.pointer import Moves, Standing
from learner.store import Keys, Store
from learner.types import FACTORY, UPSTREAM, Bot, Clock, Version
from learner.updates import SampleLine, UpdateLog

PREVIOUS = "previous"
PREFIX_MIN = 4


class Versions:
    """Read versions and record new ones. ``data_dir`` holds their files, ``updates`` what they were trained on."""

    def __init__(self, store: Store, keys: Keys, data_dir: Path, clock: Clock, updates: UpdateLog) -> None:
        self._store = store
        self._keys = keys
        self._data_dir = data_dir
        self._clock = clock
        self._updates = updates
        self._factory = ""

    def moves(self) -> Moves:
        """Return pointer, switches and records as of one moment."""
        return self._store.run(pointer.read(self._keys))

    def standing(self) -> Standing:
        """Return pointer and switches without the records: what is asked again and again."""
        return self._store.run(pointer.standing(self._keys))

    def ensure_factory(self, bot: Bot) -> Version:
        """Return the factory version, written and recorded at the first start; it is live where nothing is."""
        live = self.standing().live
        known = self._verified(bot, self._factory) if live and not live.startswith(UPSTREAM) else None
        if known:
            return known
        version = self._find_factory(bot)
        self._factory = version.id
        return version

    def _find_factory(self, bot: Bot) -> Version:
        moves = self.moves()
        for record in moves.records.values():
            if record.get(FACTORY) and record.get("bot") == bot.name:
                version = self._verified(bot, str(record["id"]))
                if version is None:
                    break
                if moves.live.startswith(UPSTREAM):
                    self._store.run(pointer.register(self._keys, record, self._clock(), instead_of=moves.live))
                return version
        version = bot.factory(self._data_dir)
        record = self.record_of(version, bot=bot.name, created_ms=self._clock(), factory=True)
        instead_of = moves.live if moves.live.startswith(UPSTREAM) else None
        self._store.run(pointer.register(self._keys, record, self._clock(), instead_of))
        return version

    def _verified(self, bot: Bot, version_id: str) -> Version | None:
        """Return a version whose files are all whole, else None."""
        try:
            version = read_version(self._data_dir, version_id)
            bot.verify(self._data_dir, version)
        except (UnknownIdError, CorruptError):
            return None
        return version

    def record_of(
        self,
        version: Version,
        *,
        bot: str,
        created_ms: int,
        factory: bool = False,
        gate: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return a version's record as the store keeps it."""
        lines = [] if factory else self._updates.lineage(version.update)
        return {
            "id": version.id,
            "parent": version.parent,
            "update": version.update,
            "bot": bot,
            "created_ms": created_ms,
            FACTORY: factory,
            "rows": version.rows,
            "samples": len(lines),
            "authors": len({line.author for line in lines}),
            "gate": dict(gate or {}),
        }

    def list(self) -> list[VersionRecord]:
        """Return every version that was ever recorded, the oldest first."""
        moves = self.moves()
        found = [_record(body, moves) for body in moves.records.values()]
        first = {version_id: at for at, (_, version_id) in reversed(list(enumerate(moves.moves)))}
        return sorted(found, key=lambda record: (record.created_ms, first.get(record.id, len(first)), record.id))

    def get(self, version_id: str) -> Version:
        """Return a version by its full id, or the alias ``factory``; its manifest is verified."""
        return read_version(
            self._data_dir, self.resolve(version_id) if version_id in (FACTORY, PREVIOUS) else version_id
        )

    def resolve(self, to: str, moves: Moves | None = None) -> str:
        """Return the id that ``to`` means: an id or its beginning, ``factory``, ``previous``, or an ISO time (UTC).

        Raises
        ------
        UnknownIdError
            Nothing is called so, or more than one version is.
        """
        moves = moves or self.moves()
        if to == PREVIOUS:
            return _named(moves.previous, "nothing was live before: `tayguard versions` lists what there is")
        if to == FACTORY:
            made = [r for r in moves.records.values() if r.get(FACTORY)]
            latest = max(made, key=lambda record: int(record["created_ms"]), default={"id": ""})
            return _named(str(latest["id"]), "no factory version yet: start the server once")
        found = [version_id for version_id in moves.records if len(to) >= PREFIX_MIN and version_id.startswith(to)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UnknownIdError(f"{len(found)} versions begin with {to}: give more of the id")
        at_ms = parse_time(to)
        if at_ms is None:
            raise UnknownIdError(
                f"no version {to[:80]!r}: give an id, `factory`, `previous` or a time like 2026-03-23T14:00"
            )
        return _named(self.live_at(at_ms) or "", f"nothing was live at {to}: the first version came later")

    def live_at(self, at_ms: int) -> str | None:
        """Return the version that was live at a time, None before the first."""
        return self._store.run(pointer.live_at(self._keys, at_ms)) or None

    def lines(self, version_id: str, moves: Moves | None = None) -> Sequence[SampleLine]:
        """Return a line per sample that a version learned from, its ancestors' included, the oldest first."""
        moves = moves or self.moves()
        updates = reversed(moves.updates(moves.ancestry(version_id)))
        return [line for update in updates for line in self._updates.lineage(update)]

    def show(self, version_id: str) -> VersionPage:
        """Return a version's page."""
        moves = self.moves()
        version_id = self.resolve(version_id, moves)
        lines = self.lines(version_id, moves)
        own = [line for update in moves.updates([version_id]) for line in self._updates.lineage(update)]
        return VersionPage(
            record=_record(moves.records[version_id], moves),
            version=self.get(version_id),
            learned=tuple(own),
            ancestry=tuple(moves.ancestry(version_id)[1:]),
            samples_in_all=len(lines),
            authors=Counter(line.author for line in lines),
            labels=Counter(
                label for line in lines for label in dict.fromkeys(str(reason["label"]) for reason in line.reasons)
            ),
            released_by=Counter(line.released_by for line in lines if line.released_by),
        )

    def diff(self, first: str, second: str) -> VersionDiff:
        """Return what two versions do not share."""
        moves = self.moves()
        first, second = self.resolve(first, moves), self.resolve(second, moves)
        lines = [self.lines(version_id, moves) for version_id in (first, second)]
        ids = [{line.id for line in side} for side in lines]
        probes = [_probes(moves.records[version_id]) for version_id in (first, second)]
        return VersionDiff(
            first=first,
            second=second,
            only_first=tuple(line for line in lines[0] if line.id not in ids[1]),
            only_second=tuple(line for line in lines[1] if line.id not in ids[0]),
            probes={name: (probes[0].get(name), probes[1].get(name)) for name in sorted({*probes[0], *probes[1]})},
        )


def parse_time(text: str) -> int | None:
    """Return an ISO 8601 time as UTC milliseconds, None when it is none; a time without a zone is UTC.

    >>> parse_time("1970-01-01T00:00:01")
    1000
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


def _named(version_id: str, otherwise: str) -> str:
    if not version_id:
        raise UnknownIdError(otherwise)
    return version_id


def _probes(record: Mapping[str, Any]) -> dict[str, float | None]:
    metrics: Sequence[Mapping[str, Any]] = record.get("gate", {}).get("metrics", ())
    return {str(metric["name"]): metric["after"] for metric in metrics}


def _record(body: Mapping[str, Any], moves: Moves) -> VersionRecord:
    version_id = str(body["id"])
    return VersionRecord(
        id=version_id,
        parent=str(body["parent"]),
        update=str(body["update"]),
        created_ms=int(body["created_ms"]),
        promoted_ms=tuple(at_ms for at_ms, moved in moves.moves if moved == version_id),
        live=version_id == moves.live,
        undone=version_id in moves.undone,
        factory=bool(body.get(FACTORY)),
        rows=int(body["rows"]),
        samples=int(body["samples"]),
        authors=int(body["authors"]),
        gate=dict(body.get("gate", {})),
    )
