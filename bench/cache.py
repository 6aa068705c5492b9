"""What knowing scores saves, and whether sharing them over Redis pays: ``python -m bench.cache ../shared/data``.

Two workers with a cache each and one Redis take the messages of real conversations (topical_chat) in their order, each
by the worker that a die names. A look-up pays where ``share found > look-up / pass``: both are measured here, the share
is the traffic's.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.data import read
from bench.figures import save
from bench.tables import table
from filters.guardian import Guardian
from filters.types import Item
from filters.units import Unit
from guard.cache import READ_S, ScoreCache, SharedScores
from guard.judging import Judge
from guard.metrics import Metrics
from guard.scoring import Scoring, ScoringLimits
from guard.turns import ScoredText
from learner.embedded import EmbeddedRedis
from learner.secrets import KeyedHash
from learner.store import AsyncStore, Keys

SEED = 5
ENTRIES = 8_192
WARM_UP = 20


class Worker:
    """A judge with a cache of its own, as a worker process has."""

    def __init__(self, guardian: Guardian, url: str, secret: bytes) -> None:
        self.metrics = Metrics()
        self.store = AsyncStore(url)
        shared = SharedScores(
            self.store,
            Keys("bench"),
            ENTRIES,
            clock=lambda: time.time_ns() // 1_000_000,
            monotonic=time.monotonic,
            read_s=max(READ_S, 1.0),  # a busy machine is to show as slow, not as a miss
        )
        self.cache = ScoreCache(ENTRIES, KeyedHash(secret), self.metrics, shared)
        self.scoring = Scoring(ScoringLimits(timeout_s=60.0), self.metrics, time.monotonic)
        self.judge = Judge(guardian, guardian.policy, self.scoring, self.cache)

    def counted(self, level: str, found: str) -> int:
        """Return how many units were looked for at a level, and found or not."""
        labels = {"level": level, "found": found}
        return int(self.metrics.registry.get_sample_value("tayguard_score_cache_total", labels) or 0)

    async def close(self) -> None:
        """End threads and connections."""
        await self.cache.close()
        self.scoring.stop()
        await self.store.close()


async def looked_ms(worker: Worker, guardian: Guardian, units: Sequence[Unit]) -> list[float]:
    """Return the milliseconds of each look-up of a single unit, all of which must be known."""
    took = []
    for unit in units:
        fold = guardian.fold(Item(""))
        began = time.perf_counter()
        (known,) = await worker.cache.look(fold, [unit])
        took.append((time.perf_counter() - began) * 1000)
        if known.scores is None:
            raise RuntimeError("a unit that was kept is not known: was Redis started over?")
    return took


async def passed_ms(worker: Worker, guardian: Guardian, units: Sequence[Unit]) -> list[float]:
    """Return the milliseconds of each unit's scoring, the wait for its thread included; what is found is kept."""
    took = []
    for unit in units:
        fold = guardian.fold(Item(""))
        (known,) = await worker.cache.look(fold, [unit])
        began = time.perf_counter()
        (found,) = await worker.scoring.run(lambda fold=fold, unit=unit: fold.score([unit]))  # type: ignore[misc]
        took.append((time.perf_counter() - began) * 1000)
        worker.cache.keep(known, found)
    await worker.cache.close()
    return took


def first_units(guardian: Guardian, texts: Sequence[str]) -> list[Unit]:
    """Return the first unit of each text, none twice."""
    found: dict[str, Unit] = {}
    for text in texts:
        fold = guardian.fold(Item(""))
        unit = [*fold.split(text), *fold.rest()][0]
        found.setdefault(unit.text, unit)
    return list(found.values())


async def costs(guardian: Guardian, url: str, texts: Sequence[str]) -> dict[str, float]:
    """Return the medians of a pass, of finding a unit in Redis, and of finding it in the worker."""
    secret = secrets.token_bytes(32)
    one, other = Worker(guardian, url, secret), Worker(guardian, url, secret)
    units = first_units(guardian, texts)
    try:
        passes = await passed_ms(one, guardian, units)
        shared = await looked_ms(other, guardian, units)
        local = await looked_ms(other, guardian, units)
    finally:
        await one.close()
        await other.close()
    named = {"pass_ms": passes, "redis_ms": shared, "local_ms": local}
    return {"units": len(units), **{name: round(statistics.median(took[WARM_UP:]), 4) for name, took in named.items()}}


async def traffic(guardian: Guardian, url: str, texts: Sequence[str]) -> dict[str, float]:
    """Return the share of units that two workers find, in themselves and then in Redis."""
    dice, secret = random.Random(SEED), secrets.token_bytes(32)
    workers = [Worker(guardian, url, secret) for _ in range(2)]
    try:
        for text in texts:
            await dice.choice(workers).judge.prompt([ScoredText(text, (0,))], Item(""))
        counts = {
            f"{level}_{found}": sum(worker.counted(level, found) for worker in workers)
            for level in ("local", "shared")
            for found in ("yes", "no")
        }
    finally:
        for worker in workers:
            await worker.close()
    asked, further = counts["local_yes"] + counts["local_no"], counts["shared_yes"] + counts["shared_no"]
    shares = {"local_share": counts["local_yes"] / asked, "shared_share": counts["shared_yes"] / max(1, further)}
    return {"messages": len(texts), "units": asked, **{name: round(share, 4) for name, share in shares.items()}}


def shown(figures: dict[str, Any]) -> str:
    """Return the table."""
    cost, found = figures["costs"], figures["traffic"]
    rows = [
        [f"one pass, median of {cost['units']:,} first sentences", f"{cost['pass_ms']:.2f} ms", ""],
        ["found in Redis", f"{cost['redis_ms']:.3f} ms", f"pays above {figures['pays_above']['redis']:.1%} found"],
        ["found in the worker", f"{cost['local_ms']:.3f} ms", f"pays above {figures['pays_above']['local']:.1%} found"],
        [
            f"{found['messages']:,} messages, {found['units']:,} units, found in the worker",
            f"{found['local_share']:.1%}",
            "",
        ],
        ["of the others, found in Redis", f"{found['shared_share']:.1%}", ""],
    ]
    return table(["scores known from before", "measured", ""], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--messages", type=int, default=4_000)
    chosen = parser.parse_args()
    texts = [row["message"] for row in read(chosen.data, "topical_chat_valid_freq")][: chosen.messages]
    guardian = Guardian()
    with tempfile.TemporaryDirectory(prefix="tayguard-bench-") as folder, EmbeddedRedis(Path(folder)) as redis:
        cost = asyncio.run(costs(guardian, redis.url, texts[:500]))
        found = asyncio.run(traffic(guardian, redis.url, texts))
    pays = {name: round(cost[f"{name}_ms"] / cost["pass_ms"], 4) for name in ("redis", "local")}
    figures = {"costs": cost, "pays_above": pays, "traffic": found}
    save("cache", figures)
    print(shown(figures))


if __name__ == "__main__":
    main()
