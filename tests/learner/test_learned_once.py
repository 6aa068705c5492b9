"""Whatever reviewers, clients, rollbacks and crashes do, in any order: nothing is twice in what is live."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from learner.capture import disown
from learner.errors import ConflictError
from learner.folder import sha256, write_file
from learner.gate import GateSettings
from learner.index import Index
from learner.lease import acquire
from learner.manifest import read_version, verify_own_files, write_version
from learner.outcomes import BufferSettings
from learner.rollback import MARK
from learner.settler import Settler
from learner.store import Keys, Store
from learner.types import FACTORY, Answerer, Sample, Turn, Update, Version
from tests.exchanges import BAD, HOUR_MS
from tests.learning import School, school

PROBES = {"small_talk": [{"prompt": "hello", "accepted": ["hoot"]}], "safety": ["hello"]}


class _KilledError(BaseException):
    """The process ends here."""


class _Hoot:
    """Says one thing."""

    def __init__(self, version: str) -> None:
        self.version = version

    def reply(self, turns: Sequence[Turn], *, seed: int = 0, choice: int = 0) -> Iterator[str]:
        yield "hoot"

    def evidence(self, turns: Sequence[Turn], *, limit: int = 5) -> list[tuple[str, float]]:
        return []


class StubBot:
    """A bot that learns nothing: its versions differ by their update alone. ``during`` is called while it trains."""

    name = "stub"
    during: Callable[[], object] = staticmethod(lambda: None)

    def hyper(self) -> Mapping[str, Any]:
        return {}

    def fingerprint(self) -> Mapping[str, str]:
        return {}

    def factory(self, folder: Path) -> Version:
        return write_version(folder, Version("", "", FACTORY, "", (), "", "", "e", 0), b"", b"")

    def prepare(self, samples: Sequence[Sample], path: Path) -> str:
        data = json.dumps([sample.id for sample in samples]).encode()
        write_file(path, data, "update write")
        return sha256(data)

    def train(self, folder: Path, parent: Version, update: Update, inputs: Path) -> Version:
        self.during()
        rows = parent.rows + len(update.samples)
        return write_version(folder, Version("", parent.id, update.id, "", (), "", "", "e", rows), b"", b"")

    def load(self, folder: Path, version: Version) -> Answerer:
        return _Hoot(read_version(folder, version.id).id)

    def verify(self, folder: Path, version: Version) -> None:
        verify_own_files(folder, version)


class Learning(RuleBasedStateMachine):
    """A few samples, a learner, a settler, reviewers and operators over one store."""

    store: Store
    folder: Path

    @initialize()
    def begin(self) -> None:
        self.keys = Keys(f"machine-{uuid.uuid4().hex[:12]}")
        self.data_dir = self.folder / self.keys.bot
        self.index, self.bot = Index(self.data_dir), StubBot()
        limits = BufferSettings(author_cap=None, conversation_cap=None, keep_drawn_ms=HOUR_MS)
        self.school: School = school(
            self.store,
            self.keys,
            self.data_dir,
            bot=self.bot,
            gate=GateSettings(least_n=1),
            limits=limits,
            settled=self.index,
        )
        self.parts, self.buffer = self.school.parts, self.school.parts.buffer
        self.parts.references.accept(PROBES, "olga", "one is enough")
        self.settler = Settler(self.store, self.keys, self.data_dir, self.parts.clock, keep_drawn_ms=HOUR_MS)
        self.ids: list[str] = []
        self.disowned: set[str] = set()
        for n in range(3):
            self.capture(bad=n > 0)
        self.review([1, 2], "release", "rev1")
        self.learn()

    some = st.lists(st.integers(0, 30), min_size=1, max_size=3)

    def chosen(self, some: list[int]) -> list[str]:
        return [self.ids[n % len(self.ids)] for n in some]

    @rule(bad=st.booleans())
    def capture(self, *, bad: bool) -> None:
        n = len(self.ids)
        how = BAD if bad else {"cool_down_s": 60}
        self.ids.append(self.school.capture(f"r{n}", f"Question {n}?", f"Answer {n}.", how=how))

    @rule(some=some, act=st.sampled_from(["release", "discard", "reopen"]), actor=st.sampled_from(["rev1", "omar"]))
    def review(self, some: list[int], act: str, actor: str) -> None:
        getattr(self.buffer, act)(self.chosen(some), actor)

    @rule(actor=st.sampled_from(["rev1", "omar"]))
    def undo_review(self, actor: str) -> None:
        self.buffer.undo(actor)

    @rule(some=some)
    def quarantine(self, some: list[int]) -> None:
        self.buffer.quarantine(self.chosen(some), "because")

    @rule(n=st.integers(0, 30))
    def disown(self, n: int) -> None:
        (sample,) = self.chosen([n])
        moves = self.parts.versions.moves()
        if not any(sample in self.parts.updates.read(update).samples for update in moves.updates(list(moves.records))):
            self.disowned.add(sample)
        self.store.run(disown(self.keys, sample.partition(".")[0], self.parts.clock()))

    @rule()
    def learn(self) -> None:
        outcome = self.school.trainer.run_once()
        if outcome.kind == "promoted":
            found = [self.buffer.get(sample) for sample in outcome.samples]
            assert {(sample.state, sample.update) for sample in found} == {("admitted", outcome.update)}

    @rule(
        some=some,
        meanwhile=st.sampled_from(["quarantine", "reopen", "disown", "rollback", "settle", "kill"]),
        kill=st.booleans(),
    )
    def learn_while(self, some: list[int], meanwhile: str, *, kill: bool) -> None:
        def during() -> None:
            training = self.parts.updates.read(self.parts.versions.moves().pending).samples
            at = [self.ids.index(training[n % len(training)]) for n in some]
            {
                "quarantine": lambda: self.quarantine(at),
                "reopen": lambda: self.review(at, "reopen", "rev1"),
                "disown": lambda: self.disown(at[0]),
                "rollback": lambda: self.roll_back(some[0], kill=False),
                "settle": self.wait_and_settle,
                "kill": lambda: None,
            }[meanwhile]()
            if kill or meanwhile == "kill":
                raise _KilledError

        self.bot.during = during
        self.capture(bad=True)
        self.review([len(self.ids) - 1], "release", "omar")
        with suppress(_KilledError):
            self.learn()
        del self.bot.during

    def killed_at(self, name: str, act: Callable[[], object]) -> None:
        """Run ``act`` in a process that ends where it would move samples."""

        def killed(*_: object) -> None:
            raise _KilledError

        setattr(self.buffer, name, killed)
        with suppress(_KilledError, ConflictError):
            act()
        delattr(self.buffer, name)

    @rule(n=st.integers(0, 9), kill=st.booleans())
    def roll_back(self, n: int, *, kill: bool) -> None:
        versions = [record.id for record in self.parts.versions.list() if not record.live]
        if not versions:
            return
        to = versions[n % len(versions)]
        if kill:
            self.killed_at("bring_back", lambda: self.parts.rollback.apply(to, "olga", ""))
        else:
            self.parts.rollback.apply(to, "olga", "")

    @rule(kill=st.booleans())
    def undo_rollback(self, *, kill: bool) -> None:
        def act() -> object:
            return self.parts.rollback.undo("olga")

        if kill:
            self.killed_at("requarantine", act)
        else:
            with suppress(ConflictError):
                act()

    @rule()
    def thaw(self) -> None:
        with suppress(ConflictError):
            self.parts.rollback.thaw("olga")

    @rule()
    def wait_and_settle(self) -> None:
        self.parts.clock.forward(2 * HOUR_MS)
        token = self.store.run(acquire(self.keys, "learner-1", self.parts.clock(), 120_000))
        self.settler.settle(token or 0)

    def lineage(self) -> dict[str, str]:
        """Return the samples of what is live, each with its update."""
        moves = self.parts.versions.moves()
        found: dict[str, str] = {}
        for update in moves.updates(moves.ancestry(moves.live)):
            ids = self.parts.updates.read(update).samples
            assert not found.keys() & set(ids), "learned twice"
            found |= dict.fromkeys(ids, update)
        return found

    @invariant()
    def nothing_is_in_what_is_live_twice_and_every_sample_knows_where_it_is(self) -> None:
        moves, lineage = self.parts.versions.moves(), self.lineage()
        assert not lineage.keys() & self.disowned
        if moves.rollback:
            return
        for sample_id in self.ids:
            sample, reason = self.buffer.get(sample_id), self.buffer.notes(sample_id).get("reason")
            if sample_id in lineage:
                assert sample.update == lineage[sample_id]
                assert not (sample.state == "quarantined" and reason == MARK)
            elif sample.state == "admitted" and sample.update:
                assert sample.update == moves.pending
            if sample_id in self.disowned:
                assert not sample.learnable


def test_nothing_is_learned_twice_and_what_is_taken_back_stays_out(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tg") as folder:
        Learning.store = Store(redis_url)
        Learning.folder = Path(folder)
        few = settings(
            max_examples=25,
            phases=(Phase.explicit, Phase.generate),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        run_state_machine_as_test(Learning, settings=few)
        Learning.store.close()
