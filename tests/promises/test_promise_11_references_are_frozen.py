"""Golden probes are content-addressed, and change by an explicit, audited call only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from learner import references as module
from learner.references import References, shipped_probes
from learner.store import Keys, Store
from tests.exchanges import StillClock
from tests.learning import school


def test_a_new_release_with_other_probes_changes_nothing_by_itself(
    store: Store, bot_keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    references = References(store, bot_keys, tmp_path, StillClock())
    first = references.live()
    monkeypatch.setattr(module, "shipped_probes", lambda: {**shipped_probes(), "safety": ["another one"]})
    assert references.live() == first


def test_accepting_is_logged_with_actor_reason_and_both_names(store: Store, bot_keys: Keys, tmp_path: Path):
    references = References(store, bot_keys, tmp_path, StillClock())
    first = references.live()
    second = references.accept({**shipped_probes(), "safety": ["another one"]}, "olga", "narrower")
    assert references.live() == second
    assert second.id != first.id
    found = [json.loads(row["e"]) for _, row in store._redis.xrange(bot_keys.log)]
    (event,) = [e for e in found if e["type"] == "references_accepted" and e["actor"] == "olga"]
    assert (event["reason"], event["before"], event["after"]) == ("narrower", first.id, second.id)


def test_learning_changes_no_reference_and_each_gate_report_names_its_own(store: Store, bot_keys: Keys, tmp_path: Path):
    taught = school(store, bot_keys, tmp_path)
    before = taught.parts.references.live().id
    version = taught.learned(prompt=taught.parts.references.live().small_talk[0].prompt)
    assert taught.parts.references.live().id == before
    assert taught.parts.versions.show(version).record.gate["probes"] == before
