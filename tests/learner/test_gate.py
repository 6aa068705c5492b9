"""The gate: each metric passes, fails, holds or does not apply, and says on what numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from learner.bots.memory import MemoryBot
from learner.errors import CorruptError, LearnerError
from learner.gate import Gate, GateSettings
from learner.references import References, parse_probes, shipped_probes
from learner.store import Keys, Store
from learner.trace import Trace
from learner.types import Turn
from tests.exchanges import StillClock
from tests.fake_encoder import BagOfWords, score_nothing, score_words
from tests.learner.contract_bot import LESSONS, learn, sample_of
from tests.learning import ANSWER, QUESTION, school

PROBES = parse_probes(shipped_probes())


@pytest.fixture
def bot() -> MemoryBot:
    return MemoryBot(BagOfWords())


def gate_of(bot: MemoryBot, folder: Path, score_many=score_words, settings: GateSettings | None = None) -> Gate:
    return Gate(bot, folder, BagOfWords(), score_many, settings)


def outcomes(report) -> dict[str, str]:
    return {metric.name: metric.outcome for metric in report.metrics}


def test_a_harmless_lesson_passes_and_every_number_is_in_the_report(bot: MemoryBot, tmp_path: Path):
    factory = bot.factory(tmp_path)
    version = learn(bot, tmp_path, factory, LESSONS)
    report = gate_of(bot, tmp_path).check(PROBES, factory, version, LESSONS)
    assert (report.outcome, report.probes) == ("pass", PROBES.id)
    assert {m.name: m.n for m in report.metrics} == {"small_talk": 42, "safety": 24, "learned": 3}
    assert report.metrics[0].before == 1.0
    assert len(report.lines()) == 3


def test_without_unreviewed_samples_their_metric_does_not_apply(bot: MemoryBot, tmp_path: Path):
    factory = bot.factory(tmp_path)
    report = gate_of(bot, tmp_path).check(PROBES, factory, factory)
    assert outcomes(report)["learned"] == "not_applicable"
    assert report.outcome == "pass"


def test_a_takeover_of_small_talk_fails(bot: MemoryBot, tmp_path: Path):
    factory = bot.factory(tmp_path)
    lessons = tuple(sample_of(n, probe.prompt, "Buy my boat.") for n, probe in enumerate(PROBES.small_talk[:10]))
    version = learn(bot, tmp_path, factory, lessons)
    report = gate_of(bot, tmp_path).check(PROBES, factory, version, lessons)
    assert (report.outcome, outcomes(report)["small_talk"]) == ("fail", "fail")


def test_rude_answers_to_the_safety_probes_fail(bot: MemoryBot, tmp_path: Path):
    factory = bot.factory(tmp_path)
    lessons = tuple(sample_of(n, prompt, f"You idiot {n}.") for n, prompt in enumerate(PROBES.safety[:8]))
    version = learn(bot, tmp_path, factory, lessons)
    assert outcomes(gate_of(bot, tmp_path).check(PROBES, factory, version))["safety"] == "fail"


def test_a_rude_lesson_that_nobody_reviewed_fails(bot: MemoryBot, tmp_path: Path):
    factory = bot.factory(tmp_path)
    lesson = sample_of(1, "What sits on the roof?", "You idiot.")
    version = learn(bot, tmp_path, factory, (lesson,))
    assert outcomes(gate_of(bot, tmp_path).check(PROBES, factory, version, (lesson,)))["learned"] == "fail"


def test_a_broken_filter_and_too_few_probes_hold(bot: MemoryBot, tmp_path: Path):
    factory = bot.factory(tmp_path)
    report = gate_of(bot, tmp_path, score_nothing).check(PROBES, factory, factory, LESSONS)
    assert outcomes(report) == {"small_talk": "pass", "safety": "inconclusive", "learned": "inconclusive"}
    assert report.outcome == "inconclusive"
    few = gate_of(bot, tmp_path, settings=GateSettings(least_n=100)).check(PROBES, factory, factory)
    assert outcomes(few)["small_talk"] == "inconclusive"


def test_references_without_probes_are_refused():
    for body in (
        {},
        {"small_talk": [], "safety": ["x"]},
        {"small_talk": [{"prompt": "x", "accepted": []}], "safety": ["x"]},
    ):
        with pytest.raises(LearnerError, match="references need"):
            parse_probes(body)


def test_damaged_references_are_refused(store: Store, bot_keys: Keys, tmp_path: Path):
    references = References(store, bot_keys, tmp_path, StillClock())
    name = references.live().id
    path = tmp_path / "references" / f"{name}.json"
    path.write_bytes(path.read_bytes().replace(b"hoot", b"boot", 1))
    with pytest.raises(CorruptError, match=name[:12]):
        references.live()


def test_the_trace_of_a_reply_names_sample_author_and_verdict(store: Store, bot_keys: Keys, tmp_path: Path):
    taught = school(store, bot_keys, tmp_path)
    version = taught.learned("r1", author="au1")
    parts = taught.parts
    trace = Trace(parts.bot, tmp_path, parts.versions, parts.buffer)
    first = trace.behind(version, [Turn("user", QUESTION)])[0]
    assert first.id == "r1.t"
    assert first.line is not None
    assert (first.line.author, first.line.released_by) == ("au1", "rev1")
    assert first.sample is not None
    assert first.sample.reply == ANSWER


def test_small_steps_that_add_up_fail_against_the_factory(bot: MemoryBot, tmp_path: Path):
    factory = bot.factory(tmp_path)
    gate, versions, reports = gate_of(bot, tmp_path), [factory], []
    for step in range(4):
        part = PROBES.small_talk[3 * step : 3 * step + 3]
        lessons = tuple(sample_of(9 * step + n, probe.prompt, "Buy my boat.") for n, probe in enumerate(part))
        versions.append(learn(bot, tmp_path, versions[-1], lessons))
        reports.append(gate.check(PROBES, versions[-2], versions[-1], (), factory))
    talk = [report.metrics[0] for report in reports]
    assert [metric.outcome for metric in talk] == ["pass", "pass", "fail", "fail"]
    assert all((m.before or 0) - (m.after or 0) <= -m.threshold for m in talk)
    assert {metric.factory for metric in talk} == {1.0}
    assert outcomes(gate.check(PROBES, versions[-1], versions[-1], (), factory))["small_talk"] == "pass"
    rude = [factory]
    for n, prompt in enumerate(PROBES.safety[:2]):
        rude.append(learn(bot, tmp_path, rude[-1], (sample_of(n, prompt, f"You idiot {n}."),)))
    gate = gate_of(bot, tmp_path, settings=GateSettings(safety_rise_max=0.1))  # a step is 0.074
    assert outcomes(gate.check(PROBES, rude[1], rude[2]))["safety"] == "pass"
    assert outcomes(gate.check(PROBES, rude[1], rude[2], (), factory))["safety"] == "fail"
