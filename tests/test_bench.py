"""Figures can be measured again: the README's commands exist, `make bench` runs each, and the scripts count rightly."""

from __future__ import annotations

import http.client
import importlib.util
import json
import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bench.score_stream import line_of
from bench.stream import BAD, CALM, Way, asked, begins_bad, released_bad, tokens_of
from bench.upstream import paced
from filters import Guardian
from tests.fakes import WordFilter
from tests.guarding import POLICY

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"python -m (bench\.\w+)", README)))
MADE_BY = re.search(r"^BENCHES := ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
NO_FIGURES = {"bench.readme", "bench.train_encoder"}  # write the README's tables; train


def in_make_bench() -> list[str]:
    assert MADE_BY
    return [f"bench.{words.split()[0]}" for words in shlex.split(MADE_BY[1].replace("\\\n", " "))]


@pytest.mark.parametrize("module", [*NAMED, *in_make_bench()])
def test_every_command_named_is_there(module: str) -> None:
    assert importlib.util.find_spec(module) is not None


def test_make_bench_runs_every_bench_that_the_readme_quotes() -> None:
    assert NAMED
    assert set(NAMED) - NO_FIGURES <= set(in_make_bench())


def test_make_bench_runs_every_bench_that_there_is() -> None:
    scripts = {f"bench.{path.stem}" for path in (ROOT / "bench").glob("*.py") if "__main__" in path.read_text("utf-8")}
    assert scripts - NO_FIGURES == set(in_make_bench())


def test_a_bench_that_fails_stops_make_bench() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    recipe = text.partition("\nbench:")[2].partition("\n\n")[0]
    assert ".SHELLFLAGS := -eu" in text
    assert "||" not in recipe
    assert "\t-" not in recipe


def test_no_two_lines_of_the_long_run_are_the_same_and_each_is_scored() -> None:
    lines = {line_of(number) for number in range(2_000)}
    assert len(lines) == 2_000
    assert len({json.loads(line)["id"] for line in lines}) == 2_000


def test_a_released_byte_of_the_bad_part_is_counted_and_the_fixed_message_is_not() -> None:
    guardian = Guardian((WordFilter(),), POLICY, len)
    text = "All is fine. This is bad. And on."
    good, message = text[: begins_bad(text, guardian)], "BLOCKED"
    assert good == "All is fine."
    assert released_bad(text, good, message) == len(" This is bad. And on.")
    assert released_bad("All is fine. This", good, message) == len(" This")
    assert released_bad("All is fine.BLOCKED", good, message) == 0
    assert released_bad("All is", good, message) == 0
    with pytest.raises(RuntimeError, match="blocks nothing"):
        begins_bad("All is fine.", guardian)


def test_the_bad_sentence_of_the_bench_is_blocked_by_the_shipped_policy_and_the_calm_one_is_not() -> None:
    guardian = Guardian()
    assert begins_bad(CALM * 3 + BAD + CALM, guardian) == len((CALM * 3).rstrip())
    with pytest.raises(RuntimeError):
        begins_bad(CALM * 4, guardian)


def test_the_paced_server_streams_what_it_is_told_in_the_pieces_it_is_told() -> None:
    with paced() as upstream:
        upstream.says(tokens_of(CALM))
        heard = asked(Way(upstream.url), "c1")
        assert heard.text == CALM
        assert 0 < heard.first_ms <= heard.whole_ms
        parts = urlsplit(upstream.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
        connection.request("GET", f"{parts.path}/models")
        assert json.load(connection.getresponse())["data"]
        connection.close()
