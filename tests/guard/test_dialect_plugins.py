"""A dialect of one's own: a package that names an entry point, routes in front of the same proxy."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from guard.dialects import plugins
from guard.settings import ConfigurationError
from tests.checking import post
from tests.guarding import serving

PACKAGE = """
from fastapi import APIRouter, Request
from guard.chat_routes import Client, gathered
from guard.dialects import openai_chat

def plain(proxy, limits):
    router = APIRouter()

    @router.post("/plain")
    async def said(request: Request, identity: Client) -> str:
        body = {"messages": [{"role": "user", "content": (await request.body()).decode()}]}
        answer = await gathered(proxy.handle(openai_chat.parse(body, request.headers, identity, limits)))
        return answer.choices[0].text

    return router

def nothing(proxy, limits):
    return None
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package with two dialects, as pip leaves it on the path."""
    (tmp_path / "plain_dialect.py").write_text(PACKAGE)
    info = tmp_path / "plain_dialect-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plain-dialect\nVersion: 1.0\n")
    names = "plain = plain_dialect:plain\nempty = plain_dialect:nothing\n"
    (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{names}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "plain_dialect", raising=False)


def test_a_dialect_of_ones_own_has_the_same_guard(installed, redis_url, bot_keys):
    with serving(redis_url, bot_keys, dialects=(plugins.load("plain"),)) as guard:
        fine, refused = (post(guard, "/plain", text).json() for text in ("hello", "bad"))
        assert [sample["state"] for sample in guard.samples()] == ["quarantined"]
        assert len(guard.events()) == 2
    assert (fine, refused) == ('You said: "hello"', "BLOCKED")


def test_an_unknown_dialect_lists_the_installed_ones(installed):
    with pytest.raises(ConfigurationError, match=r"'plian'; installed: empty, plain"):
        plugins.load("plian")


def test_a_dialect_without_routes_is_refused(installed):
    with pytest.raises(ConfigurationError, match="empty gave a NoneType"):
        plugins.load("empty")(None, None)
