"""Capture logs an exchange once and holds what may be learned from it."""

import pytest

from learner import capture as capture_module
from learner.buffer import Buffer
from learner.capture import Capture, capture, disown
from learner.samples import pattern_of, risk_of, uncertainty_of
from learner.settler import read_log
from learner.store import Keys, Store
from tests.exchanges import BAD, HOUR_MS, START_MS, StillClock, captured, exchange, hashed, samples, verdict


def test_an_exchange_is_captured_once(store: Store, bot_keys: Keys) -> None:
    this = Capture(exchange(), samples(exchange()))
    assert store.run(capture(bot_keys, this)) == "captured"
    assert store.run(capture(bot_keys, this)) == "duplicate"
    assert len(store.run(read_log(bot_keys))) == 1


def test_two_requests_with_one_idempotency_key_are_both_logged_and_counted_once(store: Store, bot_keys: Keys) -> None:
    for request_id, outcome in (("r1", "captured"), ("r2", "duplicate")):
        this = exchange(request_id)
        assert store.run(capture(bot_keys, Capture(this, samples(this), idempotency="i"))) == outcome
    assert [e["request_id"] for _, e in store.run(read_log(bot_keys))] == ["r1", "r2"]
    assert Buffer(store, bot_keys, StillClock()).counts()["held"] == 1


def test_a_clean_turn_after_a_turn_is_held_until_the_cool_down_is_over(store: Store, bot_keys: Keys) -> None:
    sample = Buffer(store, bot_keys, StillClock()).get(captured(store, bot_keys))
    assert (sample.state, sample.kind, sample.prompt, sample.reply) == (
        "held",
        "turn",
        "how are you?",
        "fine, and you? r1",
    )
    assert sample.due_ms == START_MS + 6 * HOUR_MS


@pytest.mark.parametrize(
    "bad",
    [
        verdict("block", "quarantine"),
        verdict("flag", "hold"),
        verdict("unscored", "hold"),
        verdict("allow", "hold", coverage=0.5),
    ],
)
def test_what_is_not_clean_is_quarantined(bad) -> None:
    assert samples(exchange(), prompt=bad)[0].state == "quarantined"
    assert samples(exchange(anonymous=True), prompt=bad)[0].state == "quarantined"
    assert samples(exchange(), mode="reinforce", reply=bad)[0].state == "quarantined"
    assert samples(exchange(), mode="off", prompt=bad)[0].state == "quarantined"


def test_a_bad_reply_is_reviewed_and_never_imitated() -> None:
    (sample,) = samples(exchange(), reply=verdict("block", "quarantine"))
    assert (sample.kind, sample.state, sample.learnable) == ("exchange", "quarantined", False)


def test_what_has_no_turn_before_it_is_reviewed_if_bad_and_else_left() -> None:
    first = exchange(previous="")
    assert samples(first) == ()
    (sample,) = samples(first, prompt=verdict("flag", "quarantine"))
    assert not sample.learnable


def test_the_rejected_the_anonymous_and_the_mode_off_make_no_clean_sample() -> None:
    assert samples(exchange(), prompt=verdict("block", "reject")) == ()
    assert samples(exchange(anonymous=True)) == ()
    assert samples(exchange(), mode="off") == ()
    (sample,) = samples(exchange(anonymous=True), learn_anonymous=True)
    assert sample.author == "anonymous"


def test_what_an_undone_version_answered_enters_quarantine(store: Store, bot_keys: Keys) -> None:
    _undo(store, bot_keys, "v1")
    found = Buffer(store, bot_keys, StillClock())
    sample_id = captured(store, bot_keys)
    assert found.get(sample_id).state == "quarantined"
    assert found.notes(sample_id)["reason"] == "rollback"


def test_what_was_not_acknowledged_is_never_learned_though_its_capture_came_through(store, bot_keys) -> None:
    buffer = Buffer(store, bot_keys, StillClock())
    sample = captured(store, bot_keys)
    assert store.run(disown(bot_keys, "r1", START_MS)) == "quarantined"
    assert store.run(disown(bot_keys, "r1", START_MS)) == "nothing"
    assert buffer.notes(sample)["reason"] == "unacknowledged"
    assert buffer.release([sample], "rev1")[0].result == "refused"


@pytest.mark.parametrize("moved_to", ["quarantined", "discarded", "expired"])
def test_what_was_not_acknowledged_is_never_learned_wherever_it_is(store, bot_keys, moved_to) -> None:
    buffer = Buffer(store, bot_keys, StillClock())
    sample = captured(store, bot_keys, how=BAD)
    if moved_to == "discarded":
        buffer.discard([sample], "rev1")
    if moved_to == "expired":
        buffer.expire([sample], "deadline")
    assert store.run(disown(bot_keys, "r1", START_MS)) == "nothing"
    assert (buffer.get(sample).state, buffer.get(sample).learnable) == (moved_to, False)
    assert store.run(read_log(bot_keys))[-1][1]["type"] == "unacknowledged"
    buffer.reopen([sample], "rev1")
    assert buffer.release([sample], "rev1")[0].result == "refused"


def test_undo_does_not_bring_back_what_was_not_acknowledged(store, bot_keys) -> None:
    buffer = Buffer(store, bot_keys, StillClock())
    sample = captured(store, bot_keys, how=BAD)
    buffer.release([sample], "rev1")
    buffer.reopen([sample], "rev1")
    store.run(disown(bot_keys, "r1", START_MS))
    assert [outcome.result for outcome in buffer.undo("rev1")] == ["refused"]


def test_a_capture_that_comes_after_it_was_given_up_is_logged_and_makes_no_sample(store, bot_keys) -> None:
    assert store.run(disown(bot_keys, "r1", START_MS)) == "prevented"
    this = Capture(exchange(), samples(exchange()))
    assert store.run(capture(bot_keys, this)) == "disowned"
    assert store.run(capture(bot_keys, this)) == "duplicate"
    assert len(store.run(read_log(bot_keys))) == 1
    assert Buffer(store, bot_keys, StillClock()).counts()["held"] == 0


def _undo(store: Store, keys: Keys, version: str) -> None:
    store._redis.sadd(keys.undone, version)


def test_a_conversation_remembers_its_newest_messages_only(store, bot_keys, monkeypatch) -> None:
    monkeypatch.setattr(capture_module, "MAX_MESSAGES", 3)
    for n in range(5):
        this = Capture(exchange(f"r{n}", conversation="c"), messages={f"m{n}": "scored"})
        store.run(capture(bot_keys, this))
    row = store._redis.hgetall(bot_keys.conversation("c"))
    assert sorted(name for name in row if name.startswith("m:")) == ["m:m2", "m:m3", "m:m4"]


def test_repeats_share_a_pattern_whatever_their_dress() -> None:
    assert pattern_of("Hi!", "You  ARE nice.", hashed) == pattern_of("hi", "you are nice", hashed)
    assert pattern_of("hi", "you are nice", hashed) != pattern_of("hi", "you are mice", hashed)
    assert pattern_of("?", "!", hashed) != pattern_of("!", "?", hashed)


def test_risk_is_the_highest_score_and_uncertainty_the_nearest_threshold() -> None:
    reasons = [
        {"label": "insult", "score": 0.9, "threshold": 0.5},
        {"label": "threat", "score": 0.6, "threshold": 0.55},
    ]
    (sample,) = samples(exchange(prompt_verdict={"reasons": reasons}), **BAD)
    assert risk_of(sample) == 0.9
    assert uncertainty_of(sample) == pytest.approx(0.95)
    (unscored,) = samples(exchange(prompt_verdict={"reasons": [{"label": "x", "score": None}]}), **BAD)
    assert risk_of(unscored) == 1.0
