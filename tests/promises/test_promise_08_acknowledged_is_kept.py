"""Promise 8: what was acknowledged survives kill -9. The store's part: a real redis-server, killed, started anew."""

import os
import signal
import threading
from pathlib import Path

from learner.audit import Trail
from learner.buffer import Buffer
from learner.embedded import EmbeddedRedis
from learner.errors import StoreError
from learner.index import Index
from learner.lease import acquire
from learner.settler import Settler, read_log
from learner.store import Keys, Store
from tests.exchanges import BAD, START_MS, StillClock, captured

KEYS = Keys("tay")


def kill(server: EmbeddedRedis) -> None:
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)
    server.stop()


def test_captures_reviews_and_feedback_survive_kill_9_of_redis(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    store = Store(server.start())
    buffer = Buffer(store, KEYS, StillClock())
    released, discarded, held = (captured(store, KEYS, f"r{n}", how=BAD if n < 2 else None) for n in range(3))
    buffer.release([released], "rev1")
    buffer.discard([discarded], "rev1")
    buffer.feedback("r2", "au2", "up", "nice")
    kill(server)
    store.close()
    store = Store(server.start())
    buffer = Buffer(store, KEYS, StillClock())
    assert [buffer.get(i).state for i in (released, discarded, held)] == ["admitted", "discarded", "held"]
    assert buffer.feedback("r2", "au2", "down") == "duplicate"
    kinds = [event["type"] for _, event in store.run(read_log(KEYS))]
    assert kinds == ["exchange", "exchange", "exchange", "released", "discarded", "feedback"]
    server.stop()


def test_every_capture_acknowledged_before_a_kill_9_in_mid_traffic_is_there_once(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    url = server.start()
    acknowledged: list[str] = []
    enough = threading.Event()

    def traffic(worker: int) -> None:
        store = Store(url)
        try:
            for n in range(100_000):
                captured(store, KEYS, f"w{worker}-{n}")
                acknowledged.append(f"w{worker}-{n}")
                if len(acknowledged) >= 300:
                    enough.set()
        except StoreError:
            enough.set()
        finally:
            store.close()

    workers = [threading.Thread(target=traffic, args=(n,)) for n in range(3)]
    for worker in workers:
        worker.start()
    assert enough.wait(60)
    kill(server)
    for worker in workers:
        worker.join(30)
    store = Store(server.start())
    there = [event.data["request_id"] for event in Trail(store, KEYS, tmp_path).events()]
    assert len(there) == len(set(there))
    assert len(acknowledged) >= 300
    assert set(acknowledged) <= set(there)
    assert len(there) - len(acknowledged) <= len(workers)
    server.stop()


def test_settling_and_a_kill_9_between_lose_and_double_nothing(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    store = Store(server.start())
    buffer = Buffer(store, KEYS, StillClock(), settled=Index(tmp_path))
    gone = captured(store, KEYS, "r1", how=BAD)
    buffer.discard([gone], "rev1")
    token = store.run(acquire(KEYS, "me", START_MS, 10**12)) or 0
    Settler(store, KEYS, tmp_path, StillClock()).settle(token)
    captured(store, KEYS, "r2")
    kill(server)
    store.close()
    store = Store(server.start())
    Settler(store, KEYS, tmp_path, StillClock()).settle(token)
    events = [event.type for event in Trail(store, KEYS, tmp_path).events()]
    assert events == ["exchange", "discarded", "exchange"]
    assert Buffer(store, KEYS, StillClock(), settled=Index(tmp_path)).get(gone).state == "discarded"
    server.stop()
