"""Promise 1: nothing blocked, flagged or unscored reaches an update without a reviewer.

Here at the store: from capture to draw, with filters and policy given as values.
"""

import itertools

import pytest

from filters.types import LEARN_ORDER, SERVE_ORDER
from learner.buffer import Buffer
from learner.lease import acquire
from learner.store import Keys, Store
from tests.exchanges import BAD, FILTERS, HOUR_MS, START_MS, StillClock, captured, exchange, samples, verdict

EVERY = [
    verdict(serve, learn, coverage)
    for serve, learn, coverage in itertools.product(SERVE_ORDER, LEARN_ORDER, (0.0, 0.5, 1.0))
]


class Learner:
    def __init__(self, store: Store, keys: Keys) -> None:
        self.clock = StillClock()
        self.buffer = Buffer(store, keys, self.clock)
        self.token = store.run(acquire(keys, "me", START_MS, 10**12)) or 0

    def drawn(self, judge=lambda _: "hold", filters=FILTERS) -> list[str]:
        self.clock.forward(7 * HOUR_MS)
        self.buffer.admit_due(token=self.token, epoch=0, judge=judge, filters=filters)
        drawn = self.buffer.draw(100, seed=1, token=self.token, epoch=0, judge=judge, filters=filters)
        return [sample.id for sample in drawn]


@pytest.fixture
def learner(store: Store, bot_keys: Keys) -> Learner:
    return Learner(store, bot_keys)


@pytest.mark.parametrize("mode", ["imitate", "reinforce"])
def test_only_what_is_wholly_clean_is_held_whatever_the_verdicts_say(mode) -> None:
    for prompt, reply in itertools.product(EVERY, EVERY):
        for sample in samples(exchange(), mode=mode, prompt=prompt, reply=reply):
            judged = (prompt,) if sample.kind == "turn" else (prompt, reply)
            clean = all(v.serve == "allow" and v.learn == "hold" and v.coverage == 1 for v in judged)
            assert (sample.state == "held") == clean


@pytest.mark.parametrize(
    "bad",
    [v for v in EVERY if (v.serve, v.learn, v.coverage) != ("allow", "hold", 1.0)],
    ids=lambda v: f"{v.serve}-{v.learn}-{v.coverage}",
)
def test_nothing_unclean_is_ever_drawn(store, bot_keys, learner, bad) -> None:
    captured(store, bot_keys, how={"prompt": bad})
    assert learner.drawn() == []


def test_a_reviewers_release_is_the_one_way_in(store, bot_keys, learner) -> None:
    sample = captured(store, bot_keys, how=BAD)
    assert learner.drawn() == []
    learner.buffer.release([sample], "rev1")
    assert learner.drawn() == [sample]
    assert learner.buffer.get(sample).released_by == "rev1"


def test_scores_of_other_filter_versions_are_refused_at_admission_and_at_the_draw(store, bot_keys, learner) -> None:
    sample = captured(store, bot_keys)
    assert learner.drawn(filters={"toxicity": "f2"}) == []
    assert learner.buffer.notes(sample)["reason"] == "stale_scores"
    other = captured(store, bot_keys, "r2")
    learner.clock.forward(7 * HOUR_MS)
    learner.buffer.admit_due(token=learner.token, epoch=0, judge=lambda _: "hold", filters=FILTERS)
    assert learner.drawn(filters={}) == []
    assert learner.buffer.get(other).state == "quarantined"


def test_the_live_policy_of_the_draw_decides_not_the_one_of_the_capture(store, bot_keys, learner) -> None:
    captured(store, bot_keys)
    learner.clock.forward(7 * HOUR_MS)
    assert learner.buffer.admit_due(token=learner.token, epoch=0).admitted
    assert learner.drawn(judge=lambda _: "quarantine") == []


def test_neither_time_nor_ratings_free_what_is_quarantined(store, bot_keys, learner) -> None:
    sample = captured(store, bot_keys, how={**BAD, "mode": "reinforce"})
    for author in ("au2", "cat", "dan", "au3"):
        learner.buffer.feedback("r1", author, "up")
    assert learner.drawn() == []
    assert learner.buffer.get(sample).state == "quarantined"
