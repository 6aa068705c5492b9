"""Who may use a route: a dependency for FastAPI, for the routes here and the admin API's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request

from guard.auth import Identity, KeyRing, Role


def requires(role: Role) -> Callable[[Request], Awaitable[Identity]]:
    """Return a dependency that gives who asks, and refuses whoever lacks ``role``."""

    async def identity(request: Request) -> Identity:
        ring: KeyRing = request.app.state.keyring
        who = await ring.identify(request.headers.get("authorization", ""))
        who.require(role)
        return who

    return identity
