"""What was scored before is not scored again, and the verdict is the same as if it were."""

import asyncio
import contextlib
import json
import socket
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filters import Guardian, Item, Policy
from filters.types import Scores, Span
from guard import cache as caching
from guard.cache import CacheLimits, ScoreCache, SharedScores
from guard.dialects.types import Piece
from guard.health import CANARY
from guard.hold import HeldChoice
from guard.judging import Judge
from guard.metrics import Metrics
from guard.scoring import Scoring, ScoringLimits
from guard.turns import ScoredText
from learner.secrets import KeyedHash
from learner.store import AsyncStore, Call
from tests.fakes import WordFilter
from tests.guarding import POLICY, now_ms, serving

SECRET = b"k" * 32
THREE = "One is here. Two is here. Three is iffy."
EASY = Policy.from_toml("[thresholds.in]\nred = { flag = 0.99 }\n[thresholds.out]\nred = { flag = 0.99 }\n")


class Fixed(WordFilter):
    """Word scores that depend on nothing but the text and what stands left of it, with all that scores can have."""

    memoryless = True

    def score_many(self, items):
        found = super().score_many(items)
        return [
            self._more(scores, item) if scores.scored else scores for scores, item in zip(found, items, strict=True)
        ]

    def _more(self, scores, item):
        seen = float(len("".join(item.context)) + len(item.text))
        value = max(scores.values["red"], 1.0 / (3.0 + seen))
        spans = (Span(0, min(3, len(item.text)), "red", value),)
        embedding = np.array([seen, 1.0, value], np.float32)
        return Scores(self.name, self.version, {"red": value}, spans=spans, embedding=embedding)


@dataclass
class Worker:
    """A judge with a cache of its own over one filter, as a worker has."""

    filter: WordFilter
    policy: Policy = POLICY
    entries: int = 100
    store: AsyncStore | None = None
    keys: object = None
    secret: bytes = SECRET
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self):
        shared = None
        if self.store is not None:
            shared = SharedScores(self.store, self.keys, self.entries, clock=now_ms, monotonic=time.monotonic, read_s=5)
        self.cache = ScoreCache(self.entries, KeyedHash(self.secret), self.metrics, shared) if self.entries else None
        self.scoring = Scoring(ScoringLimits(timeout_s=0.3), self.metrics, time.monotonic)

    async def says(self, text, item=None, policy=None):
        judge = Judge(Guardian([self.filter], self.policy), policy or self.policy, self.scoring, self.cache)
        return await judge.prompt([ScoredText(text, (0,))], item or Item(""))

    @property
    def asked(self):
        return [item.text for item in self.filter.asked]

    def counted(self, level, found):
        return self.metrics.registry.get_sample_value("tayguard_score_cache_total", {"level": level, "found": found})

    async def close(self):
        if self.cache is not None:
            await self.cache.close()
        self.scoring.stop()


@contextlib.asynccontextmanager
async def workers(*made):
    try:
        yield made if len(made) > 1 else made[0]
    finally:
        for one in made:
            await one.close()


def bits(judgement):
    return [None if one.embedding is None else one.embedding.tobytes() for one in judgement.scores]


WORDS = st.sampled_from(["bad", "iffy", "good day", "Hm.", "why?", "words\n", "\ufe0f", "b a d", "ünd", "x" * 120])
TEXTS = st.lists(st.lists(WORDS, max_size=30).map(" ".join), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS)
def test_known_scores_are_exactly_those_of_scoring_anew_in_the_worker_and_in_redis(redis_url, bot_keys, texts):
    async def run():
        store = AsyncStore(redis_url, timeout_s=5)
        cold = Worker(Fixed(), entries=0)
        first, second = (Worker(Fixed(), entries=100_000, store=store, keys=bot_keys) for _ in range(2))
        try:
            async with workers(cold, first, second):
                fresh = [await cold.says(text) for text in texts]
                for _ in range(2):
                    kept = [await first.says(text) for text in texts]
                    assert kept == fresh
                    assert [bits(one) for one in kept] == [bits(one) for one in fresh]
                await first.cache.close()
                shared = [await second.says(text) for text in texts]
                assert shared == fresh
                assert [bits(one) for one in shared] == [bits(one) for one in fresh]
                assert second.asked == []
        finally:
            await store.close()

    asyncio.run(run())


def test_only_what_is_new_is_scored():
    async def run():
        async with workers(Worker(Fixed())) as worker:
            await worker.says(THREE)
            before = len(worker.asked)
            await worker.says(THREE)
            assert len(worker.asked) == before
            await worker.says(f"{THREE} Four is new.")
            assert worker.asked[before:] == [" Four is new."]
            assert (worker.counted("local", "yes"), worker.counted("local", "no")) == (6.0, 4.0)
            assert worker.metrics.registry.get_sample_value("tayguard_score_cache_entries") == 4.0

    asyncio.run(run())


def test_a_gap_in_what_is_known_is_scored_in_one_pass_with_what_stands_around_it():
    async def run():
        async with workers(Worker(Fixed())) as worker:
            await worker.says(THREE)
            known = list(worker.cache._local._packed)
            worker.cache._local.drop(known[1])
            before = len(worker.asked)
            await worker.says(THREE)
            assert worker.asked[before:] == [" Two is here."]

    asyncio.run(run())


def test_a_reply_in_pieces_finds_what_was_scored_in_one():
    async def run():
        async with workers(Worker(Fixed())) as worker:
            judge = Judge(Guardian([worker.filter], POLICY), POLICY, worker.scoring, worker.cache)
            whole = HeldChoice(judge, Item("", "out"), 0, "en")
            await whole.take(Piece(text=THREE, finish="stop"))
            before = len(worker.asked)
            held = HeldChoice(judge, Item("", "out"), 0, "en")
            for letter in THREE:
                await held.take(Piece(text=letter))
            await held.take(Piece(finish="stop"))
            assert len(worker.asked) == before
            assert held.judgement == whole.judgement

    asyncio.run(run())


@pytest.mark.parametrize(
    "item",
    [
        Item("", "out"),
        Item("", "in", prompt="What?"),
        Item("", "in", context=("Before.",)),
    ],
)
def test_another_direction_prompt_or_context_is_scored_anew(item):
    async def run():
        async with workers(Worker(Fixed())) as worker:
            await worker.says("Hello there.")
            await worker.says("Hello there.", item)
            assert worker.asked == ["Hello there.", "Hello there."]

    asyncio.run(run())


def test_another_version_of_a_filter_scores_anew_and_who_asks_does_not_matter():
    async def run():
        async with workers(Worker(Fixed())) as worker:
            await worker.says("Hello there.", Item("", author="au1", conversation="c1", at_ms=1))
            await worker.says("Hello there.", Item("", author="au2", conversation="c2", at_ms=2))
            assert len(worker.asked) == 1
            worker.filter.version = "2"
            judged = await worker.says("Hello there.")
            assert len(worker.asked) == 2
            assert judged.scores[0].version == "2"

    asyncio.run(run())


def test_another_policy_decides_anew_on_known_scores():
    async def run():
        async with workers(Worker(Fixed())) as worker:
            strict = await worker.says("That is iffy.")
            easy = await worker.says("That is iffy.", policy=EASY)
            assert (strict.verdict.serve, easy.verdict.serve) == ("flag", "allow")
            assert easy.verdict.policy == EASY.id != strict.verdict.policy
            assert easy.scores == strict.scores
            assert len(worker.asked) == 1

    asyncio.run(run())


@pytest.mark.parametrize("broken", ["nan", "raise", "partial", "hang", "absent"])
def test_what_was_not_scored_in_full_is_never_known(redis_url, bot_keys, broken):
    async def run():
        filter_ = Silent() if broken == "absent" else Fixed(broken)
        store = AsyncStore(redis_url, timeout_s=5)
        async with workers(Worker(filter_, store=store, keys=bot_keys)) as worker:
            failed = await worker.says("Hello there.")
            assert broken == "absent" or failed.verdict.serve == "unscored"
            filter_.let_go.set()
            filter_.broken = ""
            before = len(worker.asked)
            assert (await worker.says("Hello there.")).verdict.serve == "allow"
            assert len(worker.asked) == before + 1
            assert worker.counted("local", "yes") is None
        await store.close()

    asyncio.run(run())


class Silent(Fixed):
    """Says nothing about its label, and that it does."""

    broken = "absent"

    def __init__(self):
        super().__init__("absent")

    def score_many(self, items):
        if self.broken != "absent":
            return super().score_many(items)
        return [Scores(self.name, self.version, absent={"red": "timeout"}) for _ in items]


def test_a_filter_that_may_have_a_memory_is_always_asked():
    async def run():
        async with workers(Worker(WordFilter())) as worker:
            await worker.says("Hello there.")
            await worker.says("Hello there.")
            assert len(worker.asked) == 2
            assert worker.counted("local", "no") is None

    asyncio.run(run())


def test_a_worker_remembers_so_many_and_lets_the_oldest_go():
    async def run():
        async with workers(Worker(Fixed(), entries=2)) as worker:
            for text in ("One.", "Two.", "One.", "Three.", "One.", "Two."):
                await worker.says(text)
            assert worker.asked == ["One.", "Two.", "Three.", "Two."]
            assert len(worker.cache._local) == 2

    asyncio.run(run())


def entries_of(store, keys):
    return {name: store._redis.get(name) for name in store._redis.keys(keys.score("*"))}


def test_redis_keeps_so_many_lets_the_oldest_go_and_all_of_them_in_time(redis_url, bot_keys, store):
    async def run():
        shared = AsyncStore(redis_url, timeout_s=5)
        async with workers(Worker(Fixed(), entries=3, store=shared, keys=bot_keys)) as worker:
            for number in range(8):
                await worker.says(f"Number {number} is here.")
                await worker.cache.close()
        await shared.close()

    asyncio.run(run())
    kept = entries_of(store, bot_keys)
    assert len(kept) == 3
    assert store._redis.zcard(bot_keys.scores) == 3
    assert {bot_keys.score(hmac) for hmac in store._redis.zrange(bot_keys.scores, 0, -1)} == set(kept)
    for name in (*kept, bot_keys.scores):
        assert 0 < store._redis.pttl(name) <= caching.TTL_MS


def test_what_nobody_asked_to_keep_any_more_goes_after_its_time(store, bot_keys):
    def keep(at_ms, hmac):
        store.run(Call("scores_keep", (bot_keys.prefix,), (at_ms, 1_000_000, 10, hmac, "[]"), int))

    keep(1, "a")
    keep(500_000, "b")
    assert set(entries_of(store, bot_keys)) == {bot_keys.score("a"), bot_keys.score("b")}
    keep(1_000_001, "c")
    assert set(entries_of(store, bot_keys)) == {bot_keys.score("b"), bot_keys.score("c")}


def test_redis_holds_no_text_and_no_name_that_can_be_made_without_the_secret(redis_url, bot_keys, store):
    text = "The pelican sleeps quietly."

    async def run():
        shared = AsyncStore(redis_url, timeout_s=5)
        ours = Worker(Fixed(), store=shared, keys=bot_keys)
        theirs = Worker(Fixed(), store=shared, keys=bot_keys, secret=b"x" * 32)
        async with workers(ours, theirs):
            await ours.says(text)
            await ours.cache.close()
            await theirs.says(text)
            assert theirs.asked == [text], "who has another secret found it"
        await shared.close()

    asyncio.run(run())
    kept = entries_of(store, bot_keys)
    assert len(kept) == 2
    for name, entry in kept.items():
        assert not any(word in f"{name} {entry}".lower() for word in ("pelican", "sleeps", "quietly"))
        (row,) = json.loads(entry)
        assert (row[0], row[1], set(row[2]), row[4]) == ("words", "1", {"red"}, {})


def test_a_damaged_entry_is_scored_anew_and_mended(redis_url, bot_keys, store):
    async def run():
        shared = AsyncStore(redis_url, timeout_s=5)
        first, second = (Worker(Fixed(), store=shared, keys=bot_keys) for _ in range(2))
        async with workers(first, second):
            fresh = await first.says("Hello there.")
            await first.cache.close()
            (name,) = entries_of(store, bot_keys)
            store._redis.set(name, '[["words","1",{"red":NaN},[],{},null]]')
            assert await second.says("Hello there.") == fresh
            assert second.asked == ["Hello there."]
            assert second.counted("shared", "no") == 1.0
            await second.cache.close()
            assert "NaN" not in store._redis.get(name)
        await shared.close()

    asyncio.run(run())


def test_without_redis_texts_are_scored_and_redis_is_left_alone_for_a_while(bot_keys):
    async def run():
        away = AsyncStore("unix:///nonexistent/r.sock")
        async with workers(Worker(Fixed(), store=away, keys=bot_keys)) as worker:
            for number in range(6):
                assert (await worker.says(f"Number {number}.")).verdict.serve == "allow"
                await worker.cache.close()
            assert worker.cache._shared._breaker.is_open
            await worker.says("Number 0.")
            assert len(worker.asked) == 6
        await away.close()

    asyncio.run(run())


def test_a_redis_that_does_not_answer_costs_little_and_no_verdict(bot_keys):
    with tempfile.TemporaryDirectory(prefix="tg") as folder, socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(Path(folder) / "r.sock"))
        silent.listen(8)

        async def run():
            store = AsyncStore(f"unix://{folder}/r.sock", timeout_s=0.2)
            async with workers(Worker(Fixed(), store=store, keys=bot_keys)) as worker:
                worker.cache._shared._read_s = 0.02
                began = time.monotonic()
                for number in range(10):
                    assert (await worker.says(f"Number {number}.")).verdict.serve == "allow"
                assert time.monotonic() - began < 2.0
            await store.close()

        asyncio.run(run())


def test_a_running_guard_knows_what_it_scored_for_a_chat_and_says_so_in_its_metrics(redis_url, bot_keys):
    words = Fixed()
    limits = CacheLimits(entries=50, shared=True)
    with serving(redis_url, bot_keys, guardian=Guardian([words], POLICY), cache=limits) as guard:
        canaries = len(words.asked)
        for _ in range(2):
            answer = guard.chat("That is iffy.")
            assert answer.headers["X-Tayguard-Verdict"] == "flag"
        asked = [item.text for item in words.asked[canaries:] if item.direction == "in"]
        text = guard.running.metrics.render().decode()
    assert asked.count("That is iffy.") == 1
    assert 'tayguard_score_cache_total{found="yes",level="local"}' in text
    assert 'tayguard_score_cache_total{found="no",level="shared"}' in text


def test_the_canary_is_scored_every_time(redis_url, bot_keys):
    words = Fixed()
    with serving(redis_url, bot_keys, guardian=Guardian([words], POLICY), cache=CacheLimits(entries=50)) as guard:
        guard.running.health._max_age_s = 0.0
        before = len(words.asked)
        for _ in range(3):
            assert httpx.get(f"{guard.url}/readyz").status_code == 200
        assert [item.text for item in words.asked[before:]].count(CANARY) == 3
