"""The clients: Redis' troubles become ours, with what to do; connections are never left with a stale answer."""

import asyncio
import socket

import pytest
from redis import exceptions
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError, ResponseError

from learner.errors import ConflictError, LearnerError, StoreError, UnknownIdError
from learner.session import pointer
from learner.store import AsyncStore, Call, Keys, Store
from learner.store.client import _translated
from tests.exchanges import captured


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (ResponseError("TG:conflict:the epoch has moved"), ConflictError, "the epoch has moved"),
        (ResponseError("TG:unknown:no such thing"), UnknownIdError, "no such thing"),
        (ResponseError("TG:other:odd"), LearnerError, "odd"),
        (ResponseError("OOM command not allowed when used memory > 'maxmemory'."), StoreError, "maxmemory"),
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), StoreError, "raise it"),
        (ReadOnlyError("You can't write against a read only replica."), StoreError, "primary"),
        (ResponseError("MISCONF Redis is configured to save"), StoreError, "disk"),
        (BusyLoadingError("Redis is loading the dataset in memory"), StoreError, "loading"),
        (exceptions.ConnectionError("Connection refused"), StoreError, "running and reachable"),
    ],
)
def test_every_trouble_says_what_to_do(error, kind, says) -> None:
    found = _translated(error)
    assert type(found) is kind
    assert says in str(found)


def test_a_real_server_out_of_memory_is_told_as_such(store: Store, bot_keys: Keys) -> None:
    store._redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreError, match="maxmemory"):
            captured(store, bot_keys)
    finally:
        store._redis.config_set("maxmemory", "0")
    assert captured(store, bot_keys)


def test_nobody_listening_is_a_store_error() -> None:
    with pytest.raises(StoreError, match="reachable"):
        Store("unix:///nowhere/redis.sock").run(pointer(Keys("tay")))
    with pytest.raises(StoreError, match="reachable"):
        Store("unix:///nowhere/redis.sock").ping()


def test_more_calls_than_connections_wait_their_turn(redis_url: str, bot_keys: Keys) -> None:
    async def many() -> int:
        store = AsyncStore(redis_url, max_connections=2, timeout_s=5)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(store.run(pointer(bot_keys))) for _ in range(50)]
        await store.close()
        return len({task.result() for task in tasks})

    assert asyncio.run(many()) == 1


def test_a_cancelled_call_leaves_no_stale_answer(redis_url: str, bot_keys: Keys) -> None:
    async def cancel_many() -> None:
        store = AsyncStore(redis_url, max_connections=1, timeout_s=5)
        live = Call("pointer", (bot_keys.prefix,), (), lambda answer: answer)
        rows = Call("counts", (bot_keys.prefix,), ("held", "admitted"), lambda answer: answer)
        for turns in range(1, 12):
            task = asyncio.ensure_future(store.run(live))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await store.run(rows) == [0, 0]
        await store.close()

    asyncio.run(cancel_many())


def test_a_server_that_never_answers_costs_the_timeout_and_no_more() -> None:
    async def ask(port: int) -> None:
        store = AsyncStore(f"redis://127.0.0.1:{port}", timeout_s=0.05)
        try:
            await store.run(pointer(Keys("tay")))
        finally:
            await store.close()

    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(StoreError):
        asyncio.run(asyncio.wait_for(ask(silent.getsockname()[1]), 5))
