"""What a worker knows of the store between requests: the last pointer, its age, the policies; and who polls it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from filters.errors import FilterError
from filters.policy import Policy
from guard.errors import GuardError
from guard.upstream import Upstream
from learner import policies
from learner.errors import LearnerError, StoreError, UnknownIdError
from learner.session import Pointer, pointer
from learner.store import AsyncStore, Keys

_LOG = logging.getLogger("tayguard.live")
_MAX_POLICIES = 8


class Live:
    """The pointer as last read, by a request or by :meth:`poll`; ``monotonic`` gives seconds."""

    def __init__(
        self,
        store: AsyncStore,
        keys: Keys,
        upstream: Upstream,
        *,
        policy_of: Callable[[str], Awaitable[Policy]],
        default_policy: Policy,
        monotonic: Callable[[], float],
    ) -> None:
        self._store, self._keys, self._upstream = store, keys, upstream
        self._policy_of, self._monotonic = policy_of, monotonic
        self._policies: dict[str, Policy] = {"": default_policy}
        self.pointer: Pointer | None = None
        self._read_at = float("-inf")
        self._following: asyncio.Future[None] | None = None
        self._ended = False
        self.problem = ""
        """Why the last turn of :meth:`poll` failed, but for a store that is away."""

    @property
    def age_s(self) -> float:
        """Seconds since the pointer was read."""
        return self._monotonic() - self._read_at

    def saw(self, pointer_now: Pointer) -> None:
        """Take in a pointer that was just read."""
        self.pointer, self._read_at = pointer_now, self._monotonic()

    async def policy(self, policy_id: str) -> Policy:
        """Return a policy by its id; the shipped one before any was applied."""
        found = self._policies.get(policy_id)
        if found is None:
            found = await self._policy_of(policy_id)
            while len(self._policies) >= _MAX_POLICIES:
                del self._policies[next(key for key in self._policies if key)]
            self._policies[policy_id] = found
        return found

    @property
    def last_policy(self) -> Policy:
        """The live policy as far as it is known here, without asking the store."""
        known = self.pointer.policy if self.pointer else ""
        return self._policies.get(known, self._policies[""])

    async def look(self) -> None:
        """Read the pointer once; what it names is made ready meanwhile."""
        self.saw(now := await self._store.run(pointer(self._keys)))
        await self.policy(now.policy)
        before = self._following
        if before is None or before.done():
            self._following = asyncio.ensure_future(self._upstream.follow(now.live, now.previous))
        if before is not None and before.done() and not before.cancelled():
            before.result()  # raises what went wrong unforeseen

    def end(self) -> None:
        """Let :meth:`poll` end at its next turn, even where a cancellation got lost in a timeout."""
        self._ended = True

    async def poll(self, interval_s: float, tick: Callable[[], Awaitable[None]]) -> None:
        """Look, then ``tick``, until :meth:`end`; whatever goes wrong, it is tried again at the next turn."""
        was_down = False
        while not self._ended:
            problem = ""
            failure: Exception | None = None
            try:
                await self.look()
                await tick()
            except StoreError:
                if not was_down:
                    _LOG.warning("Redis does not answer; requests are answered as the policy's on_store_down says")
                was_down = True
            except (LearnerError, FilterError, GuardError) as exc:
                problem = f"the live version or policy could not be made ready ({type(exc).__name__})"
                failure = exc
            except Exception as exc:  # noqa: BLE001 - the edge: a worker that stops looking would serve what is not live
                problem = f"what is live could not be followed ({type(exc).__name__}); the log knows more"
                failure = exc
            else:
                was_down = False
            if problem and problem != self.problem:
                _LOG.error(problem, exc_info=failure)
            self.problem = problem
            await asyncio.sleep(interval_s)


def policy_reader(store: AsyncStore, keys: Keys) -> Callable[[str], Awaitable[Policy]]:
    """Return a function that reads a policy from the store by its id."""

    async def policy_of(policy_id: str) -> Policy:
        stored = await store.run(policies.read(keys, policy_id))
        if not stored.json:
            raise UnknownIdError(f"no policy {policy_id} is stored; apply one with `tayguard policy apply FILE`")
        return Policy.from_json(stored.json)

    return policy_of
