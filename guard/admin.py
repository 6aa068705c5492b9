"""The admin API: what the command line does, for programs. Roles are checked on every route.

The work is plain code and runs in threads; :mod:`guard.operations` does it for both faces.
"""

# No postponed annotations here: FastAPI reads them, and some name dependencies that are made per router.
import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from filters.errors import FilterError
from guard.auth import Identity, KeyRing, Role
from guard.errors import BadRequestError, BusyError, ForbiddenError, NotFoundError
from guard.operations import Operations
from learner.errors import ConflictError, CorruptError, LearnerError, StoreError, UnknownIdError

T = TypeVar("T")
Json = dict[str, Any]
READERS: tuple[Role, ...] = ("reviewer", "operator", "auditor")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Why(_Body):
    """Why somebody does something."""

    reason: str = Field(default="", max_length=2_000)


class Decision(Why):
    """Samples to decide on."""

    ids: list[str] = Field(min_length=1, max_length=10_000)


class Target(Why):
    """Where to roll back to: a version or its beginning, a time, ``factory`` or ``previous``."""

    to: str = Field(max_length=200)


class PolicyText(Why):
    """A policy as TOML."""

    toml: str = Field(max_length=262_144)


class NewKey(_Body):
    """A key to create."""

    roles: list[str] = Field(min_length=1)
    asserts_author: bool = False
    note: str = Field(default="", max_length=500)


def admin_router(operations: Operations) -> APIRouter:
    """Return the routes below ``/admin/api``; the app's key ring says who sends a request."""
    router = APIRouter(prefix="/admin/api", tags=["admin"])
    desk = Desk(operations)
    _review(router, desk)
    _versions(router, desk)
    _switches(router, desk)
    _policy(router, desk)
    _keys(router, desk)
    return router


class Desk:
    """Checks roles, runs plain code in a thread, and maps the learner's errors to ours."""

    def __init__(self, operations: Operations) -> None:
        self.operations = operations

    def needs(self, *roles: Role) -> Any:  # noqa: ANN401 - what FastAPI's Depends takes
        """Return the dependency that lets in who has one of ``roles``."""

        async def check(request: Request) -> Identity:
            keyring: KeyRing = request.app.state.keyring
            identity = await keyring.identify(request.headers.get("authorization", ""))
            if not identity.roles & set(roles):
                raise ForbiddenError(f"this key lacks the role {' or '.join(roles)}: `tayguard keys create` makes one")
            return identity

        return Depends(check)

    async def run(self, work: Callable[..., T], *args: Any, **named: Any) -> T:  # noqa: ANN401 - passed on
        """Return what plain code returns, run in a thread."""
        try:
            return await asyncio.to_thread(work, *args, **named)
        except UnknownIdError as exc:
            raise NotFoundError(str(exc), code="unknown_id") from exc
        except (ConflictError, CorruptError) as exc:
            raise BadRequestError(str(exc), code="conflict") from exc
        except StoreError as exc:
            raise BusyError(str(exc), code="store_unavailable") from exc
        except (FilterError, LearnerError, ValueError) as exc:
            raise BadRequestError(str(exc)) from exc


def _review(router: APIRouter, desk: Desk) -> None:
    ops = desk.operations
    reader, reviewer = desk.needs(*READERS), desk.needs("reviewer")

    @router.get("/samples", dependencies=[reader])
    async def list_samples(
        state: str = "quarantined",
        label: str | None = None,
        author: str | None = None,
        cohort: str | None = None,
        since: str | None = None,
        order: Literal["risk", "uncertainty", "age"] = "risk",
        limit: Annotated[int, Field(ge=1, le=1_000)] = 50,
    ) -> list[Json]:
        """List samples, the riskiest first."""
        asked = {"state": state, "label": label, "author": author, "cohort": cohort, "since": since}
        return await desk.run(ops.samples, **asked, order=order, limit=limit)

    @router.get("/samples/{sample_id}", dependencies=[reader])
    async def show_sample(sample_id: str) -> Json:
        """Show a sample with its scores and history."""
        return await desk.run(ops.sample, sample_id)

    @router.post("/samples/{what}")
    async def decide(
        what: Literal["release", "discard", "reopen"], body: Decision, who: Annotated[Identity, reviewer]
    ) -> list[Json]:
        """Release, discard or reopen samples; one outcome per id."""
        return await desk.run(ops.decide, what, body.ids, who.key_id, body.reason)

    @router.post("/undo")
    async def undo(who: Annotated[Identity, reviewer]) -> list[Json]:
        """Revert this key's last decision."""
        return await desk.run(ops.undo_review, who.key_id)


def _versions(router: APIRouter, desk: Desk) -> None:
    ops = desk.operations
    reader, operator = desk.needs(*READERS), desk.needs("operator")

    @router.get("/versions", dependencies=[reader])
    async def versions() -> list[Json]:
        """List every version, the oldest first."""
        return await desk.run(ops.versions)

    @router.get("/versions/{version}", dependencies=[reader])
    async def version(version: str) -> Json:
        """Show a version and what it learned from."""
        return await desk.run(ops.version, version)

    @router.get("/versions/{first}/diff/{second}", dependencies=[reader])
    async def diff(first: str, second: str) -> Json:
        """Show what two versions do not share."""
        return await desk.run(ops.version_diff, first, second)

    @router.get("/live-at", dependencies=[reader])
    async def live_at(time: str) -> Json:
        """Say which version was live at a time."""
        return await desk.run(ops.live_at, time)

    @router.get("/rollback", dependencies=[reader])
    async def preview(to: str) -> Json:
        """Say what a rollback would do."""
        return await desk.run(ops.rollback_preview, to)

    @router.post("/rollback")
    async def rollback(body: Target, who: Annotated[Identity, operator]) -> Json:
        """Roll back."""
        return await desk.run(ops.rollback, body.to, who.key_id, body.reason)

    @router.post("/rollback/undo")
    async def undo_rollback(body: Why, who: Annotated[Identity, operator]) -> Json:
        """Reverse the last rollback."""
        return await desk.run(ops.rollback_undo, who.key_id, body.reason)


def _switches(router: APIRouter, desk: Desk) -> None:
    ops = desk.operations
    reader, operator = desk.needs(*READERS), desk.needs("operator")

    @router.post("/learn", dependencies=[operator])
    async def learn() -> Json:
        """Make one update now."""
        return await desk.run(ops.learn_once)

    @router.post("/switch/{what}")
    async def switch(
        what: Literal["freeze", "thaw", "stop", "start"], body: Why, who: Annotated[Identity, operator]
    ) -> Json:
        """Freeze or thaw learning; stop or start answering."""
        return await desk.run(ops.switch, what, who.key_id, body.reason)

    @router.get("/exchanges/{request_id}", dependencies=[reader])
    async def trace(request_id: str) -> Json:
        """Show an exchange and the rows behind its reply."""
        return await desk.run(ops.trace_request, request_id)


def _policy(router: APIRouter, desk: Desk) -> None:
    ops = desk.operations
    reader, operator = desk.needs(*READERS), desk.needs("operator")

    @router.get("/status", dependencies=[reader])
    async def status() -> Json:
        """Return the pointer, the switches and how many samples wait."""
        return await desk.run(ops.status)

    @router.get("/policy", dependencies=[reader])
    async def policy() -> Json:
        """Return which policy is live."""
        return await desk.run(ops.policy)

    @router.post("/policy/diff", dependencies=[reader])
    async def policy_diff(body: PolicyText) -> Json:
        """Return which stored verdicts a policy would change."""
        return await desk.run(ops.policy_diff, body.toml)

    @router.post("/policy")
    async def policy_apply(body: PolicyText, who: Annotated[Identity, operator]) -> Json:
        """Make a policy live."""
        return await desk.run(ops.policy_apply, body.toml, who.key_id, body.reason)

    @router.post("/policy/rollback")
    async def policy_rollback(body: Why, who: Annotated[Identity, operator]) -> Json:
        """Make the policy before this one live again."""
        return await desk.run(ops.policy_rollback, who.key_id, body.reason)


def _keys(router: APIRouter, desk: Desk) -> None:
    ops = desk.operations
    operator, auditor = desk.needs("operator"), desk.needs("auditor", "operator")

    @router.get("/keys", dependencies=[operator])
    async def keys() -> list[Json]:
        """List the keys, never their secrets."""
        return await desk.run(ops.key_list)

    @router.post("/keys")
    async def create_key(body: NewKey, who: Annotated[Identity, operator]) -> Json:
        """Create a key; its secret is in this answer only."""
        call = {"asserts_author": body.asserts_author, "note": body.note, "actor": who.key_id}
        return await desk.run(ops.key_create, body.roles, **call)

    @router.delete("/keys/{key_id}")
    async def revoke_key(key_id: str, who: Annotated[Identity, operator]) -> Json:
        """Revoke a key."""
        return await desk.run(ops.key_revoke, key_id, who.key_id)

    @router.get("/audit", dependencies=[auditor])
    async def audit(limit: Annotated[int, Field(ge=1, le=10_000)] = 50) -> list[Json]:
        """Return the last events."""
        return await desk.run(ops.audit, limit)

    @router.get("/audit/verify", dependencies=[auditor])
    async def verify(head: str = "") -> Json:
        """Return whether the log's chain is unbroken."""
        return await desk.run(ops.audit_verify, head)
