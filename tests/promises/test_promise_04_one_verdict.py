"""Promise 4, in the filters: one text has one verdict, whole or in pieces, whatever else is scored."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import Guardian, Item
from tests.hostile import ABUSIVE, BORDERLINE, SMALL_TALK

TEXT = " ".join([*SMALL_TALK[:3], BORDERLINE, SMALL_TALK[4]])


@pytest.fixture(scope="module")
def guardian() -> Guardian:
    return Guardian()


@given(cuts=st.lists(st.integers(min_value=0, max_value=len(TEXT)), max_size=8))
@settings(max_examples=8, deadline=None)
def test_streamed_and_whole_have_the_same_scores_and_verdict(guardian, cuts):
    whole_scores, whole = guardian.judge(Item(TEXT))
    fold, last = guardian.fold(Item("")), 0
    for cut in [*sorted(cuts), len(TEXT)]:
        fold.feed(TEXT[last:cut])
        last = cut
    fold.close()
    assert fold.scores == whole_scores
    assert fold.verdict() == whole


def test_what_else_is_scored_at_the_same_time_does_not_count(guardian):
    texts = [BORDERLINE, ABUSIVE, *SMALL_TALK] * 2
    alone = [guardian.judge(Item(text)) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda text: guardian.judge(Item(text)), texts))
    assert together == alone


def test_a_verdict_names_its_policy_and_filter_versions(guardian):
    verdict = guardian.check(prompt=BORDERLINE)
    assert verdict.policy == guardian.policy.id
    assert dict(verdict.filters) == guardian.versions
