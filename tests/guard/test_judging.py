"""A prompt's units are scored a chain at a time: as few jobs as passes, each with a deadline of its own."""

import asyncio
import time

import pytest

from filters import Guardian, Item
from filters.units import chains, split
from guard.errors import TooLargeError
from guard.judging import Judge
from guard.metrics import Metrics
from guard.scoring import NotScoredError, Scoring, ScoringLimits
from guard.turns import ScoredText
from tests.fakes import PacedFilter, WordFilter
from tests.guarding import POLICY

LONG = "All is fine here, as it was before. " * 30


class Batches(WordFilter):
    """A word filter that notes how many plain units each call brings."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def score_many(self, items):
        self.batches.append([item.text for item in items])
        return super().score_many(items)


@pytest.fixture
def judge_of():
    def make(filter_, **limits):
        scoring = Scoring(ScoringLimits(**{"timeout_s": 0.5, **limits}), Metrics(), time.monotonic)
        made.append(scoring)
        return Judge(Guardian([filter_], POLICY), POLICY, scoring)

    made = []
    yield make
    for scoring in made:
        scoring.stop()


def test_a_prompt_is_scored_in_one_job_a_chain(judge_of):
    words = Batches()
    asyncio.run(judge_of(words).prompt([ScoredText(LONG, (0,))], Item("")))
    expected = [[unit.text for unit in chain] for chain in chains(split(LONG, len))]
    assert 1 < len(expected) < 31
    assert words.batches == expected


def test_every_chain_has_a_deadline_of_its_own(judge_of):
    paced = PacedFilter(0.06)
    judged = asyncio.run(judge_of(paced, timeout_s=0.5).prompt([ScoredText(LONG, (0,))], Item("")))
    assert 0.06 * len(chains(split(LONG, len))) > 0.5
    assert judged.verdict.serve == "allow"


def test_what_came_before_a_chain_that_failed_stays_judged_and_the_rest_is_unscored(judge_of):
    words = Batches()
    score_many = words.score_many

    def break_later(items):
        words.broken = "hang" if words.batches else ""
        return score_many(items)

    words.score_many = break_later
    judge = judge_of(words, timeout_s=0.1)
    fold = judge.guardian.fold(Item(""))
    units = [*fold.split(LONG), *fold.rest()]
    with pytest.raises(NotScoredError) as failed:
        asyncio.run(judge.judged(fold, units))
    words.let_go.set()
    assert failed.value.kind == "timeout"
    assert fold.scores["words"].coverage == 1.0
    assert len(words.batches[0]) == len(chains(units)[0])


def test_all_texts_of_several_groups_are_counted_together(judge_of):
    judge = judge_of(WordFilter(), max_units=3)
    group = ([ScoredText("One. Two.", (0,))], Item(""))

    async def counts(*groups):
        return [len(units) for one in await judge.divide(groups) for units in one.units]

    assert asyncio.run(counts(group)) == [2]
    with pytest.raises(TooLargeError, match="4 sentences, at most 3"):
        asyncio.run(counts(group, group))
