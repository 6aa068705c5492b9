"""A request begins with the pointer, its conversation, what is known of its messages, and the fate of its retry."""

from learner.capture import Capture, capture
from learner.session import BeginRequest, begin, pointer, release_lock
from learner.store import Keys, Store
from tests.exchanges import START_MS, exchange


def request(request_id: str = "r1", **changed):
    return BeginRequest(request_id=request_id, now_ms=START_MS, lock_until_ms=START_MS + 1000, **changed)


def test_before_anything_happened_the_factory_is_live(store: Store, bot_keys: Keys) -> None:
    found = store.run(pointer(bot_keys))
    assert (found.live, found.previous, found.epoch) == ("factory", "factory", 0)
    assert not found.frozen
    assert not found.stopped


def test_a_conversation_serves_one_request_at_a_time(store: Store, bot_keys: Keys) -> None:
    assert store.run(begin(bot_keys, request("r1", conversation="c"))).lock == "got"
    assert store.run(begin(bot_keys, request("r1", conversation="c"))).lock == "got"
    assert store.run(begin(bot_keys, request("r2", conversation="c"))).lock == "busy"
    assert store.run(release_lock(bot_keys, "c", "r1"))
    assert store.run(begin(bot_keys, request("r2", conversation="c"))).lock == "got"


def test_a_lock_whose_holder_died_lapses(store: Store, bot_keys: Keys) -> None:
    store.run(begin(bot_keys, request("r1", conversation="c")))
    late = BeginRequest("r2", START_MS + 1001, conversation="c", lock_until_ms=START_MS + 2000)
    assert store.run(begin(bot_keys, late)).lock == "got"


def test_releasing_what_another_request_holds_does_nothing(store: Store, bot_keys: Keys) -> None:
    store.run(begin(bot_keys, request("r1", conversation="c")))
    assert not store.run(release_lock(bot_keys, "c", "r2"))
    assert store.run(begin(bot_keys, request("r3", conversation="c"))).lock == "busy"


def test_a_capture_moves_the_conversation_on_and_gives_the_lock_back(store: Store, bot_keys: Keys) -> None:
    store.run(begin(bot_keys, request("r1", conversation="c")))
    messages = {"m1": "scored", "m2": "blocked", "m3": "served"}
    store.run(capture(bot_keys, Capture(exchange("r1", conversation="c"), messages=messages)))
    found = store.run(begin(bot_keys, request("r2", conversation="c", messages=("m1", "m2", "m3", "m4"))))
    assert found.lock == "got"
    assert found.seen == ("scored", "blocked", "served", "")
    assert (found.last_reply, found.last_request_id, found.last_version) == ("good", "r1", "v1")


def test_a_conversation_is_found_by_the_prefix_that_ends_in_our_reply(store: Store, bot_keys: Keys) -> None:
    store.run(capture(bot_keys, Capture(exchange("r1", conversation="c"), prefix="p1")))
    assert store.run(begin(bot_keys, request("r2", prefixes=("unknown", "p1")))).conversation == "c"
    assert store.run(begin(bot_keys, request("r3", prefixes=("unknown",)))).conversation is None


def test_strangers_who_come_the_same_way_are_never_merged(store: Store, bot_keys: Keys) -> None:
    store.run(capture(bot_keys, Capture(exchange("r1", conversation="c1"), prefix="same")))
    store.run(capture(bot_keys, Capture(exchange("r2", conversation="c2"), prefix="same")))
    store.run(capture(bot_keys, Capture(exchange("r3", conversation="c1"), prefix="same")))
    found = store.run(begin(bot_keys, request("r4", prefixes=("same",), messages=("m1",))))
    assert (found.conversation, found.lock, found.seen) == (None, "none", ("",))


def test_a_retry_is_told_of_the_request_that_runs_and_then_of_its_answer(store: Store, bot_keys: Keys) -> None:
    store.run(begin(bot_keys, request("r1", conversation="c", idempotency="i")))
    waiting = store.run(begin(bot_keys, request("r2", conversation="c", idempotency="i")))
    assert waiting.idempotent is not None
    assert (waiting.idempotent.state, waiting.idempotent.request_id, waiting.lock) == ("running", "r1", "none")
    store.run(capture(bot_keys, Capture(exchange("r1", conversation="c"), answer={"text": "good"}, idempotency="i")))
    done = store.run(begin(bot_keys, request("r3", conversation="c", idempotency="i")))
    assert done.idempotent is not None
    assert (done.idempotent.state, done.idempotent.answer) == ("done", {"text": "good"})


def test_a_retry_of_a_request_that_failed_begins_anew(store: Store, bot_keys: Keys) -> None:
    store.run(begin(bot_keys, request("r1", conversation="c", idempotency="i")))
    store.run(release_lock(bot_keys, "c", "r1", "i"))
    assert store.run(begin(bot_keys, request("r2", conversation="c", idempotency="i"))).idempotent is None


def test_a_busy_request_does_not_claim_its_idempotency_key(store: Store, bot_keys: Keys) -> None:
    store.run(begin(bot_keys, request("r1", conversation="c")))
    assert store.run(begin(bot_keys, request("r2", conversation="c", idempotency="i"))).lock == "busy"
    assert store.run(begin(bot_keys, request("r3", conversation="d", idempotency="i"))).idempotent is None
