"""API keys: who may do what. A key is a 256-bit random token; only its sha256 is stored.

Keys live in Redis; a worker reads them again every moment, so that a revocation is seen soon. The embedded key
comes from a file in the data folder and is handed in as a record of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from guard.errors import ForbiddenError, UnauthorizedError
from learner.errors import StoreError
from learner.store import AsyncStore, Call, Keys

Role = Literal["client", "integrator", "reviewer", "operator", "auditor"]
ROLES: tuple[Role, ...] = ("client", "integrator", "reviewer", "operator", "auditor")
TOKEN_PREFIX = "tg_"  # noqa: S105 - says what the string is, opens nothing


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One key as stored. ``secret_sha256`` is hex; ``revoked_ms`` is 0 while the key is good."""

    id: str
    secret_sha256: str
    roles: tuple[str, ...]
    asserts_author: bool = False
    note: str = ""
    created_ms: int = 0
    revoked_ms: int = 0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends a request. ``asserts_author``: whether its word on who wrote a text counts."""

    key_id: str
    roles: frozenset[str]
    asserts_author: bool = False

    def require(self, role: Role) -> None:
        """Raise :class:`ForbiddenError` unless this key has ``role``; the client must use another key."""
        if role not in self.roles:
            raise ForbiddenError(
                f"this key lacks the role {role}; create one with `tayguard keys create --role {role}`"
            )


def new_secret() -> str:
    """Return a fresh key, ``tg_`` and 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def record_for(
    secret: str, roles: Iterable[str], *, asserts_author: bool = False, note: str = "", created_ms: int = 0
) -> KeyRecord:
    """Return the record of ``secret``; its id is made of the first digits of its hash.

    >>> record_for("tg_x", ["client"]).id
    'key_6a818fa0a930'
    """
    chosen = tuple(role for role in ROLES if role in set(roles))
    unknown = sorted(set(roles) - set(chosen))
    if unknown or not chosen:
        raise ValueError(f"unknown role {', '.join(unknown) or '(none)'}; choose from {', '.join(ROLES)}")
    digest = _sha256(secret)
    return KeyRecord(f"key_{digest[:12]}", digest, chosen, asserts_author, note, created_ms)


def put_key(keys: Keys, record: KeyRecord, *, actor: str, at_ms: int) -> Call[str]:
    """Store a key, and give back its id."""
    return _change(keys, "key_create", record.id, json.dumps(asdict(record)), actor, at_ms)


def revoke_key(keys: Keys, key_id: str, *, actor: str, at_ms: int) -> Call[str]:
    """Mark a key as revoked; an unknown one raises ``UnknownIdError``."""
    return _change(keys, "key_revoke", key_id, "", actor, at_ms)


def _change(keys: Keys, event: str, key_id: str, record: str, actor: str, at_ms: int) -> Call[str]:
    change = {"type": event, "key": key_id, "actor": actor, "at_ms": at_ms, "reason": ""}
    return Call("key_put", (keys.prefix,), (json.dumps(change), record), str)


def list_keys(keys: Keys) -> Call[tuple[KeyRecord, ...]]:
    """Return every key, revoked ones too, oldest first."""
    return Call("key_list", (keys.prefix,), (), _decoded)


def _decoded(rows: Sequence[str]) -> tuple[KeyRecord, ...]:
    records = [_record(json.loads(row)) for row in rows]
    return tuple(sorted(records, key=lambda record: (record.created_ms, record.id)))


def _record(row: dict[str, Any]) -> KeyRecord:
    return KeyRecord(**{**row, "roles": tuple(row["roles"])})


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class KeyRing:
    """The keys a worker knows, read again when older than ``max_age_s``.

    ``monotonic`` gives seconds. While Redis is away the last known keys go on counting: nobody could have revoked one.
    """

    def __init__(
        self,
        store: AsyncStore,
        keys: Keys,
        *,
        monotonic: Callable[[], float],
        static: Sequence[KeyRecord] = (),
        max_age_s: float = 2.0,
    ) -> None:
        self._store, self._keys, self._monotonic, self._max_age_s = store, keys, monotonic, max_age_s
        self._static = {record.secret_sha256: record for record in static}
        self._stored: dict[str, KeyRecord] = {}
        self._read_at: float | None = None

    async def refresh(self) -> None:
        """Read the keys from Redis; raises :class:`~learner.errors.StoreError` when it is away."""
        self._stored = {r.secret_sha256: r for r in await self._store.run(list_keys(self._keys)) if not r.revoked_ms}
        self._read_at = self._monotonic()

    async def identify(self, authorization: str) -> Identity:
        """Return who an ``Authorization`` header speaks for, or raise :class:`UnauthorizedError`."""
        scheme, _, secret = authorization.strip().partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise UnauthorizedError("send your key as `Authorization: Bearer tg_...`")
        digest = _sha256(secret.strip())
        record = self._static.get(digest)
        if record is None:
            await self._freshen()
            record = self._stored.get(digest)
        if record is None or not hmac.compare_digest(record.secret_sha256, digest):
            raise UnauthorizedError(
                "this key is not known here, or was revoked; `tayguard keys list` shows the good ones"
            )
        return Identity(record.id, frozenset(record.roles), record.asserts_author)

    async def _freshen(self) -> None:
        if self._read_at is not None and self._monotonic() - self._read_at < self._max_age_s:
            return
        try:
            await self.refresh()
        except StoreError:
            if self._read_at is None:
                raise
