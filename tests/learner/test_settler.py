"""Settling: sealed first, dropped after; dying anywhere in between loses and doubles nothing."""

import errno
from pathlib import Path

import pytest

from learner.audit import Trail, verify
from learner.buffer import Buffer
from learner.capture import disown
from learner.errors import ConflictError, DataFolderError, UnknownIdError
from learner.folder import write_new
from learner.index import Index
from learner.lease import acquire
from learner.queue import Query
from learner.segments import Segments
from learner.settler import Settler, read_log
from learner.store import Keys, Store
from tests.exchanges import BAD, FILTERS, START_MS, StillClock, captured

DAY_MS = 86_400_000


@pytest.fixture
def token(store: Store, bot_keys: Keys) -> int:
    return store.run(acquire(bot_keys, "learner-1", START_MS, 60_000)) or 0


def settler(store: Store, keys: Keys, data_dir: Path, clock: StillClock | None = None, **changed) -> Settler:
    return Settler(store, keys, data_dir, clock or StillClock(), **changed)


def requests(store: Store, keys: Keys, data_dir: Path) -> list[str]:
    events = Trail(store, keys, data_dir).events()
    return [event.data["request_id"] for event in events if event.type == "exchange"]


def test_sealed_entries_leave_redis_and_keep_their_order(store, bot_keys, tmp_path, token) -> None:
    for n in range(5):
        captured(store, bot_keys, f"r{n}")
    done = settler(store, bot_keys, tmp_path, max_entries=2).settle(token)
    assert (done.entries, done.head.seq, len(Segments(tmp_path).names())) == (5, 5, 3)
    assert store.run(read_log(bot_keys)) == []
    captured(store, bot_keys, "r5")
    assert requests(store, bot_keys, tmp_path) == [f"r{n}" for n in range(6)]


def test_few_entries_wait_for_more(store, bot_keys, tmp_path, token) -> None:
    captured(store, bot_keys)
    assert settler(store, bot_keys, tmp_path).settle(token, min_entries=2).entries == 0
    assert settler(store, bot_keys, tmp_path).settle(token).entries == 1


def test_dying_after_the_seal_and_before_the_drop_doubles_nothing(store, bot_keys, tmp_path, token) -> None:
    captured(store, bot_keys)

    def die_after(path: Path, data: bytes, what: str) -> None:
        write_new(path, data, what)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        settler(store, bot_keys, tmp_path, write=die_after).settle(token)
    assert len(store.run(read_log(bot_keys))) == 1
    assert requests(store, bot_keys, tmp_path) == ["r1"]
    assert settler(store, bot_keys, tmp_path).settle(token).entries == 0
    assert store.run(read_log(bot_keys)) == []
    assert requests(store, bot_keys, tmp_path) == ["r1"]


def test_dying_in_the_middle_of_a_write_leaves_nothing_behind(store, bot_keys, tmp_path, token) -> None:
    captured(store, bot_keys)

    def die_within(path: Path, data: bytes, what: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f".{path.name}.part").write_bytes(data[:10])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        settler(store, bot_keys, tmp_path, write=die_within).settle(token)
    assert settler(store, bot_keys, tmp_path).settle(token).entries == 1
    assert [path.name for path in (tmp_path / "log").iterdir()] == ["00000001.jsonl"]


def test_a_full_disk_drops_nothing_and_says_so(store, bot_keys, tmp_path, token) -> None:
    captured(store, bot_keys)

    def full(path: Path, data: bytes, what: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataFolderError, match="nothing was dropped"):
        settler(store, bot_keys, tmp_path, write=full).settle(token)
    assert len(store.run(read_log(bot_keys))) == 1


def test_a_settler_that_lost_its_lease_seals_nothing(store, bot_keys, tmp_path, token) -> None:
    captured(store, bot_keys)
    with pytest.raises(ConflictError):
        settler(store, bot_keys, tmp_path).settle(token + 1)
    assert Segments(tmp_path).names() == []


def test_a_settler_whose_lease_went_while_it_wrote_leaves_the_chain_whole(store, bot_keys, tmp_path, token) -> None:
    captured(store, bot_keys, "r1")
    clock, other = StillClock(), settler(store, bot_keys, tmp_path)
    write = other._write

    def overtaken(path: Path, data: bytes, what: str) -> None:
        clock.forward(DAY_MS)
        for request_id in ("r2", "r3"):
            other.settle(store.run(acquire(bot_keys, "learner-2", clock(), 60_000)) or 0)
            captured(store, bot_keys, request_id)
        write(path, data, what)

    with pytest.raises(ConflictError, match="another process was first"):
        settler(store, bot_keys, tmp_path, clock, write=overtaken).settle(token)
    report = verify(tmp_path)
    assert (report.problem, report.entries) == ("", 2)
    assert requests(store, bot_keys, tmp_path) == ["r1", "r2", "r3"]


def test_segments_keep_their_order_when_a_number_gains_a_digit(tmp_path) -> None:
    (tmp_path / "log").mkdir()
    for name in ("100000000.jsonl", "99999998.jsonl"):
        (tmp_path / "log" / name).touch()
    assert Segments(tmp_path).names() == ["99999998.jsonl", "100000000.jsonl"]
    assert Segments(tmp_path).names("99999998.jsonl") == ["100000000.jsonl"]


def test_the_trail_has_no_hole_while_the_settler_is_at_work(store, bot_keys, tmp_path, token) -> None:
    at_work = settler(store, bot_keys, tmp_path, max_entries=2)
    for n in range(4):
        captured(store, bot_keys, f"r{n}")
    at_work.settle(token)
    for n in range(4, 8):
        captured(store, bot_keys, f"r{n}")
    seen = []
    for event in Trail(store, bot_keys, tmp_path).events():
        seen.append(event.data["request_id"])
        if seen[-1] == "r1":
            at_work.settle(token)
        if seen[-1] == "r7":
            captured(store, bot_keys, "r8")
        if seen[-1] == "r8":
            at_work.settle(token)
    assert seen == [f"r{n}" for n in range(9)]


def test_what_is_sealed_between_two_looks_is_found_all_the_same(store, bot_keys, tmp_path, token, monkeypatch) -> None:
    buffer = Buffer(store, bot_keys, StillClock(), settled=Index(tmp_path))
    trail, at_work = Trail(store, bot_keys, tmp_path), settler(store, bot_keys, tmp_path)

    def sealed_just_after(look):
        def looked(name: str):
            found = look(name)
            if store.run(read_log(bot_keys)):
                at_work.settle(token)
            return found

        return looked

    sample = captured(store, bot_keys, how=BAD)
    monkeypatch.setattr(trail._index, "exchange", sealed_just_after(trail._index.exchange))
    assert trail.exchange("r1").request_id == "r1"
    buffer.discard([sample], "rev1")
    monkeypatch.setattr(trail._index, "history", sealed_just_after(trail._index.history))
    assert [event.type for event in trail.history(sample)] == ["exchange", "discarded"]


def test_ended_samples_leave_redis_and_are_found_in_the_index(store, bot_keys, tmp_path, token) -> None:
    index = Index(tmp_path)
    buffer = Buffer(store, bot_keys, StillClock(), settled=index)
    gone, kept = captured(store, bot_keys, "r1", how=BAD), captured(store, bot_keys, "r2", how=BAD)
    buffer.discard([gone], "rev1")
    before = buffer.get(gone)
    assert settler(store, bot_keys, tmp_path).settle(token).dropped == 1
    assert buffer.counts()["discarded"] == 0
    assert buffer.get(gone) == before
    assert [s.id for s in buffer.find(Query(state="discarded"))] == [gone]
    assert [s.id for s in buffer.find()] == [kept]


def test_a_settled_sample_comes_back_by_a_reviewer_or_a_rollback(store, bot_keys, tmp_path, token) -> None:
    clock = StillClock()
    buffer = Buffer(store, bot_keys, clock, settled=Index(tmp_path))
    discarded, drawn = (captured(store, bot_keys, f"r{n}", how=BAD) for n in range(2))
    buffer.discard([discarded], "rev1")
    buffer.release([drawn], "rev1")
    (sample,) = buffer.draw(5, seed=1, token=token, epoch=0, judge=lambda _: "hold", filters=FILTERS)
    buffer.mark_drawn([sample.id], "u1", token=token, epoch=0)
    clock.forward(2 * DAY_MS)
    assert settler(store, bot_keys, tmp_path, clock).settle(token).dropped == 2
    assert (buffer.get(drawn).update, buffer.get(drawn).released_by) == ("u1", "rev1")
    assert [o.result for o in buffer.reopen([discarded, "nobody"], "rev1")] == ["moved", "unknown"]
    assert [o.result for o in buffer.requarantine([drawn], "rollback", "olga", 1)] == ["moved"]
    back = buffer.get(drawn)
    assert (back.state, back.update, back.released_by, back.reply) == ("quarantined", "", "", sample.reply)
    assert {s.id for s in buffer.find()} == {discarded, drawn}
    buffer.discard([drawn], "rev1")
    settler(store, bot_keys, tmp_path, clock).settle(token)
    assert buffer.get(drawn).state == "discarded"


def test_undo_of_a_settled_sample_leaves_an_earlier_decision_alone(store, bot_keys, tmp_path, token) -> None:
    buffer = Buffer(store, bot_keys, StillClock(), settled=Index(tmp_path))
    first, second = (captured(store, bot_keys, f"r{n}", how=BAD) for n in range(2))
    buffer.discard([second], "omar")
    settler(store, bot_keys, tmp_path).settle(token)
    buffer.discard([first], "rev1")
    buffer.reopen([second], "rev1")
    assert [(outcome.id, outcome.state) for outcome in buffer.undo("rev1")] == [(second, "discarded")]
    assert buffer.get(first).state == "discarded"


@pytest.mark.parametrize("settled_first", [True, False])
def test_what_was_not_acknowledged_cannot_be_learned_even_when_it_comes_back_from_the_settled(
    store, bot_keys, tmp_path, token, settled_first
) -> None:
    buffer = Buffer(store, bot_keys, StillClock(), settled=Index(tmp_path))
    sample = captured(store, bot_keys, how=BAD)
    buffer.discard([sample], "rev1")
    if settled_first:
        assert settler(store, bot_keys, tmp_path).settle(token).dropped == 1
    assert store.run(disown(bot_keys, "r1", START_MS)) == "nothing"
    if not settled_first:
        assert settler(store, bot_keys, tmp_path).settle(token).dropped == 1
        store._redis.delete(bot_keys.exchange("r1"))
    assert [outcome.result for outcome in buffer.reopen([sample], "rev1")] == ["moved"]
    assert [outcome.result for outcome in buffer.release([sample], "rev1")] == ["refused"]
    settler(store, bot_keys, tmp_path).settle(token)
    found = Index(tmp_path).sample(sample)
    assert found is not None
    assert not found.learnable


def test_a_sample_in_training_stays_in_redis_however_long_it_trains(store, bot_keys, tmp_path, token) -> None:
    clock = StillClock()
    buffer = Buffer(store, bot_keys, clock, settled=Index(tmp_path))
    sample = captured(store, bot_keys, how=BAD)
    buffer.release([sample], "rev1")
    store._redis.hset(bot_keys.state, "pending", "u1")
    buffer.mark_drawn([sample], "u1", token=token, epoch=0)
    clock.forward(2 * DAY_MS)
    assert settler(store, bot_keys, tmp_path, clock).settle(token).dropped == 0
    store._redis.hdel(bot_keys.state, "pending")
    assert settler(store, bot_keys, tmp_path, clock).settle(token).dropped == 1


def test_the_index_is_rebuilt_from_the_segments_at_will(store, bot_keys, tmp_path, token) -> None:
    buffer = Buffer(store, bot_keys, StillClock())
    sample = captured(store, bot_keys, how=BAD)
    buffer.release([sample], "rev1")
    buffer.undo("rev1")
    settler(store, bot_keys, tmp_path).settle(token)
    index = Index(tmp_path)
    before = index.sample(sample)
    assert index.update() == 0
    assert index.rebuild() == 3
    assert index.sample(sample) == before
    assert index.served_by("v1") == ["r1"]
    (tmp_path / "index.sqlite").write_bytes(b"rubbish" * 1000)
    with pytest.raises(DataFolderError, match="rebuilt"):
        index.update()
    assert index.rebuild() == 3


def test_the_trail_knows_a_samples_history_sealed_or_not(store, bot_keys, tmp_path, token) -> None:
    buffer = Buffer(store, bot_keys, StillClock(), settled=Index(tmp_path))
    sample = captured(store, bot_keys, how=BAD)
    buffer.discard([sample], "rev1", "rude")
    settler(store, bot_keys, tmp_path).settle(token)
    assert [outcome.result for outcome in buffer.undo("rev1")] == ["moved"]
    history = Trail(store, bot_keys, tmp_path).history(sample)
    told = [(event.type, event.actor, event.seq) for event in history]
    assert told == [("exchange", "proxy", 1), ("discarded", "rev1", 2), ("undone", "rev1", None)]
    assert all("exchange" not in event.data for event in history)


def test_an_exchange_is_found_before_and_after_it_is_sealed(store, bot_keys, tmp_path, token) -> None:
    captured(store, bot_keys)
    trail = Trail(store, bot_keys, tmp_path)
    before = trail.exchange("r1")
    settler(store, bot_keys, tmp_path).settle(token)
    assert trail.exchange("r1") == before
    assert before.reply == "good"
    with pytest.raises(UnknownIdError):
        trail.exchange("r2")


def test_what_was_live_is_known_from_the_sealed_log(store, bot_keys, tmp_path, token) -> None:
    for at, kind, field, version in ((10, "promoted", "version", "v1"), (20, "rollback", "to", "factory")):
        event = f'{{"type":"{kind}","at_ms":{at},"{field}":"{version}","actor":"olga"}}'
        store._redis.xadd(bot_keys.log, {"e": event})
    settler(store, bot_keys, tmp_path).settle(token)
    assert [Index(tmp_path).live_at(at) for at in (5, 15, 25)] == ["", "v1", "factory"]


class TestTheChain:
    @pytest.fixture
    def sealed(self, store, bot_keys, tmp_path, token) -> Path:
        for n in range(4):
            captured(store, bot_keys, f"r{n}")
        settler(store, bot_keys, tmp_path, max_entries=2).settle(token)
        return tmp_path

    def test_an_untouched_chain_is_whole(self, sealed: Path) -> None:
        report = verify(sealed)
        assert report.whole
        assert verify(sealed, report.head).whole
        assert report.entries == 4

    def test_a_changed_byte_is_found(self, sealed: Path) -> None:
        path = sealed / "log" / "00000001.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"actor":"proxy"', b'"actor":"nobod"', 1))
        assert "changed" in verify(sealed).problem

    def test_a_removed_line_is_found(self, sealed: Path) -> None:
        path = sealed / "log" / "00000001.jsonl"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
        assert "missing" in verify(sealed).problem

    def test_a_cut_tail_is_found_with_the_exported_head(self, sealed: Path) -> None:
        head = verify(sealed).head
        (sealed / "log" / "00000003.jsonl").unlink()
        assert verify(sealed).whole
        assert "tail was cut" in verify(sealed, head).problem

    def test_a_line_that_is_no_json_is_found(self, sealed: Path) -> None:
        with (sealed / "log" / "00000003.jsonl").open("ab") as file:
            file.write(b'{"seq":')
        assert "not JSON" in verify(sealed).problem
