"""Where text stands in other APIs: pointers are exact, and a mapping that cannot work refuses to start in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard.dialects.pointers import built, look, tokens_of
from guard.settings import ConfigurationError, Settings, from_json, load

GOOD = '[relay.shop]\nurl = "https://bot.example/talk"\ntext = "/message"\nreply = "/reply"\n'
RFC = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "m~n": 8, " ": 7}


def loaded(folder: Path, text: str) -> Settings:
    (folder / "tayguard.toml").write_text(text)
    return load(folder / "tayguard.toml", {})


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", RFC),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_pointers_read_as_the_rfc_says(pointer: str, value: object) -> None:
    assert look(RFC, pointer) == value


@pytest.mark.parametrize("pointer", ["/foo/2", "/foo/-", "/foo/00", "/none", "/foo/0/x"])
def test_where_nothing_stands_nothing_is_found(pointer: str) -> None:
    with pytest.raises(LookupError):
        look(RFC, pointer)


@pytest.mark.parametrize("pointer", ["foo", "/a~2", "/~"])
def test_what_is_no_pointer_is_refused(pointer: str) -> None:
    with pytest.raises(ValueError, match="no JSON pointer"):
        tokens_of(pointer)


def test_what_is_built_is_found_again() -> None:
    values = {"/m/0/t": "a", "/m/1/t": "b", "/x~1y": True}
    assert {pointer: look(built(values), pointer) for pointer in values} == values


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ('author = "user"', "relay.shop.author"),
        ('author = "/message"', "different pointers"),
        ('author = "/message/name"', "author"),
        ('constants = { "/list/1" = 1 }', "list begins at 0"),
        ('forward = ["/a/0"]', "forward"),
        ('stream = "sse"', "delta"),
        ('stream = "sse"\ndelta = "/d"', "done or end"),
        ('delta = "/d"', "stream"),
        ('stream = "xml"', "relay.shop.stream"),
        ('method = "GET"', "relay.shop.method"),
        ('headers = { "Host" = "x" }', "Host"),
        ('textt = "/x"', "did you mean text"),
        ('[upstream]\ndialect = "relay:other"', "add [relay.other]"),
        ('[upstream]\ndialect = "rasa"', "upstream.url"),
        ('[upstream]\ndialect = "relay:shop"\nurl = "http://x"', "upstream.url"),
    ],
)
def test_a_bad_mapping_refuses_to_start_in_one_line_that_names_it(tmp_path: Path, change: str, key: str) -> None:
    with pytest.raises(ConfigurationError) as failure:
        loaded(tmp_path, GOOD + change + "\n")
    assert key in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_good_mapping_is_handed_down_to_the_workers(tmp_path: Path) -> None:
    settings = loaded(tmp_path, GOOD + '[upstream]\ndialect = "relay:shop"\n')
    assert from_json(settings.model_dump_json()).relay["shop"] == settings.relay["shop"]
