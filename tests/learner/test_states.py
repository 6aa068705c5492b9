"""Whatever is done to samples, in any order: each is in one state, and every index says what its row says."""

import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from learner.buffer import Buffer
from learner.index import Index
from learner.lease import acquire
from learner.outcomes import BufferSettings
from learner.settler import Settler
from learner.states import MOVING, TRANSITIONS
from learner.store import Keys, Store
from tests.exchanges import BAD, FILTERS, HOUR_MS, StillClock, captured

INDEXES = ("held", "admitted", "drawn", "quarantined", "discarded", "expired", "revoked")


def test_every_state_that_can_be_left_can_be_entered() -> None:
    entered = {transition.target for transition in TRANSITIONS.values()} | {"held"}
    left = {source for transition in TRANSITIONS.values() for source in transition.sources}
    assert left <= entered
    assert set(MOVING) <= left


class Samples(RuleBasedStateMachine):
    """A few samples of few authors, so that they meet."""

    store: Store
    folder: Path

    @initialize()
    def begin(self) -> None:
        self.keys = Keys(f"machine-{uuid.uuid4().hex[:12]}")
        self.clock = StillClock()
        data_dir = self.folder / self.keys.bot
        self.index = Index(data_dir)
        limits = BufferSettings(author_cap=3, max_held=4, max_quarantined=4, keep_drawn_ms=HOUR_MS)
        self.buffer = Buffer(self.store, self.keys, self.clock, limits, self.index)
        self.token = self.store.run(acquire(self.keys, "me", self.clock(), 10**12))
        self.settler = Settler(self.store, self.keys, data_dir, self.clock, keep_drawn_ms=HOUR_MS)
        self.ids: list[str] = []
        self.updates = 0
        for n in range(4):
            self.capture("au1" if n % 2 else "au2", n < 3, "xyz"[n % 3])

    some = st.lists(st.integers(0, 30), min_size=1, max_size=3)

    def chosen(self, some: list[int]) -> list[str]:
        return [self.ids[n % len(self.ids)] for n in some] if self.ids else []

    @rule(author=st.sampled_from(["au1", "au2"]), bad=st.booleans(), prompt=st.sampled_from(["x", "y", "z"]))
    def capture(self, author: str, bad: bool, prompt: str) -> None:
        n = len(self.ids)
        how = BAD if bad else {"cool_down_s": 3600}
        changed = {"author": author, "prompt": prompt, "finished_ms": self.clock(), "version": f"v{n % 2}"}
        self.ids.append(captured(self.store, self.keys, f"r{n}", how=how, **changed))

    @rule(some=some, act=st.sampled_from(["release", "discard", "reopen"]), actor=st.sampled_from(["rev1", "omar"]))
    def review(self, some: list[int], act: str, actor: str) -> None:
        getattr(self.buffer, act)(self.chosen(some), actor)

    @rule(actor=st.sampled_from(["rev1", "omar"]))
    def undo(self, actor: str) -> None:
        self.buffer.undo(actor)

    @rule(some=some, act=st.sampled_from(["quarantine", "expire"]))
    def machine(self, some: list[int], act: str) -> None:
        getattr(self.buffer, act)(self.chosen(some), "because")

    @rule(some=some, epoch=st.integers(1, 3))
    def requarantine(self, some: list[int], epoch: int) -> None:
        self.buffer.requarantine(self.chosen(some), "rollback", "olga", epoch)

    @rule()
    def admit(self) -> None:
        self.buffer.admit_due(token=self.token, epoch=0)

    @rule(some=some, back=st.booleans())
    def release_and_draw(self, some: list[int], back: bool) -> None:
        self.updates += 1
        self.buffer.release(self.chosen(some), "rev1")
        judged = self.buffer.draw(2, seed=1, token=self.token, epoch=0, judge=lambda _: "hold", filters=FILTERS)
        ids = [sample.id for sample in judged]
        assert self.buffer.mark_drawn(ids, f"u{self.updates}", token=self.token, epoch=0) == len(ids)
        if back:
            assert self.buffer.undraw(ids, f"u{self.updates}", token=self.token, reason="gate") == len(ids)

    @rule(hours=st.sampled_from([1, 24, 24 * 20]))
    def wait_and_sweep(self, hours: int) -> None:
        self.clock.forward(hours * HOUR_MS)
        self.buffer.sweep()

    @rule()
    def settle(self) -> None:
        self.settler.settle(self.token)

    @invariant()
    def indexes_agree_with_rows(self) -> None:
        redis = self.store._redis
        found = {name: set(redis.zrange(self.keys.in_state(name), 0, -1)) for name in INDEXES}
        deadlines = set(redis.zrange(self.keys.sample_deadlines, 0, -1))
        support: dict[tuple[str, str], int] = {}
        for sample_id in self.ids:
            row = redis.hgetall(self.keys.sample(sample_id))
            homes = [name for name in INDEXES if sample_id in found[name]]
            if not row:
                assert homes == []
                settled = self.index.sample(sample_id)
                assert settled is not None
                assert settled.state not in ("held", "quarantined")
                continue
            home = "drawn" if row["state"] == "admitted" and row["update"] else row["state"]
            assert homes == [home]
            assert (sample_id in deadlines) == (home in MOVING)
            assert redis.sismember(self.keys.by_author(row["author"]), sample_id)
            assert redis.sismember(self.keys.by_version(row["version"]), sample_id)
            if home in ("held", "admitted"):
                key = (row["pattern"], row["author"])
                support[key] = support.get(key, 0) + 1
        for (pattern, author), least in support.items():
            key = self.keys.pattern(pattern)
            assert int(redis.hget(key, author) or 0) >= least
            assert redis.zscore(self.keys.deadlines, key)


def test_no_sample_is_ever_in_two_states_and_indexes_agree(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tg") as folder:
        Samples.store = Store(redis_url)
        Samples.folder = Path(folder)
        few = settings(
            max_examples=40,
            phases=(Phase.explicit, Phase.generate),
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        run_state_machine_as_test(Samples, settings=few)
        Samples.store.close()


@pytest.mark.parametrize("event", sorted(TRANSITIONS))
def test_a_transition_is_from_a_state_to_another(event: str) -> None:
    transition = TRANSITIONS[event]
    assert transition.target not in transition.sources
