"""What hold-back costs a streamed reply, and what it lets out: ``python -m bench.stream``.

A small server on loopback streams 400 tokens at a steady pace; the guard, a real `serve` process, stands before it.
Time to the first byte of the reply and in all, against the same server asked directly, in turns. Then a reply with a
bad sentence, cut into pieces in many ways: bytes from there on that got out. Writes ``bench/out/stream.json``.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.figures import save
from bench.server import serving
from bench.tables import table
from bench.upstream import MODEL, paced
from filters.guardian import Guardian
from filters.types import Item

SEED = 3
REPLIES = 25
PACE_MS = 10.0
TOKENS = 400
CHUNKINGS = 200
WARM_UP = 2
PROMPT = "Tell me about your walk by the river, please."
CALM = "I went for a walk by the river this morning and saw two herons in the reeds near the old bridge. "
BAD = "You are a stupid worthless idiot. "

Figures = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """How a server is asked."""

    url: str
    key: str = ""


@dataclass(frozen=True)
class Heard:
    """What came of a streamed reply, and when."""

    text: str
    first_ms: float
    whole_ms: float


def asked(way: Way, conversation: str) -> Heard:
    """Ask for one streamed reply."""
    parts = urlsplit(way.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
    named = {"X-Tayguard-Author": "au0", "X-Tayguard-Conversation": conversation}
    headers = {"Authorization": f"Bearer {way.key}", "Content-Type": "application/json", **named}
    began = time.perf_counter()
    connection.request("POST", f"{parts.path}/chat/completions", json.dumps(body), headers)
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"{way.url} answered {answer.status}: {answer.read()[:200]!r}")
    first_ms, pieces, done = 0.0, [], False
    for line in answer:
        done = done or line.strip() == b"data: [DONE]"
        piece = content_of(line)
        if piece and not pieces:
            first_ms = (time.perf_counter() - began) * 1000
        pieces.append(piece)
    whole_ms = (time.perf_counter() - began) * 1000
    connection.close()
    if not done:
        raise RuntimeError(f"{way.url} broke its stream off")
    return Heard("".join(pieces), first_ms, whole_ms)


def content_of(line: bytes) -> str:
    """Return the text in a line of the stream."""
    if not line.startswith(b"data: {"):
        return ""
    return "".join(choice["delta"].get("content") or "" for choice in json.loads(line[6:]).get("choices", ()))


def spread(values: Sequence[float]) -> Figures:
    """Return median and 99th percentile."""
    return {"p50": round(statistics.median(values), 2), "p99": round(sorted(values)[int(len(values) * 0.99)], 2)}


def pieces_of(text: str, dice: random.Random) -> Iterator[str]:
    """Yield a text in pieces of one to a few dozen characters; which, the dice say."""
    longest = dice.choice((1, 2, 5, 20, 80, len(text)))
    while text:
        size = dice.randint(1, longest)
        yield text[:size]
        text = text[size:]


def tokens_of(text: str) -> list[str]:
    """Return a text word by word, each with the space after it."""
    return [f"{word} " for word in text.split()]


def begins_bad(text: str, guardian: Guardian) -> int:
    """Return where the first unit over the threshold begins: no byte from there on may leave."""
    fold = guardian.fold(Item(text, "out", prompt=PROMPT))
    for judged in (*fold.feed(text), *fold.close()):
        if not guardian.policy.lets_through(judged.verdict, "out"):
            return judged.unit.start
    raise RuntimeError("the policy blocks nothing of the bad reply: choose a sentence that it blocks")


def released_bad(heard: str, good: str, message: str) -> int:
    """Return the bytes of a reply that are none of its good beginning, nor the guard's fixed message.

    >>> released_bad("Fine. Bad", "Fine.", "No."), released_bad("Fine.No.", "Fine.", "No.")
    (4, 0)
    """
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(heard, good, strict=False))
    rest = heard[sum(1 for _ in same) :]
    return 0 if rest.strip() == message else len(rest.encode())


def measured(replies: int, pace_ms: float, chunkings: int) -> tuple[dict[str, list[Heard]], dict[str, int]]:
    """Return calm replies, and how many bad bytes were released, of either way."""
    names, dice = map("conversation-{}".format, itertools.count()), random.Random(SEED)
    tokens = list(itertools.islice(itertools.cycle(tokens_of(CALM)), TOKENS))
    bad, guardian = CALM * 3 + BAD + CALM, Guardian()
    good, message = bad[: begins_bad(bad, guardian)], guardian.policy.message("blocked")
    heard: dict[str, list[Heard]] = {"plain": [], "guard": []}
    released = {"plain": 0, "guard": 0}
    with (
        paced() as upstream,
        tempfile.TemporaryDirectory(prefix="tayguard-bench-") as folder,
        serving(Path(folder) / "data", TAYGUARD_UPSTREAM__URL=upstream.url) as server,
    ):
        ways = {"plain": Way(upstream.url), "guard": Way(f"{server.url}/v1", server.key)}
        upstream.says(tokens, pace_ms / 1000)
        for number, (side, way) in itertools.product(range(WARM_UP + replies), ways.items()):
            one = asked(way, next(names))
            if one.text.split() != "".join(tokens).split():
                raise RuntimeError(f"a calm reply did not come whole ({side})")
            heard[side] += [one] if number >= WARM_UP else []
        for _ in range(chunkings):
            upstream.says(list(pieces_of(bad, dice)))
            for side, way in ways.items():
                released[side] += released_bad(asked(way, next(names)).text, good, message)
    return heard, released


def shown(figures: Figures) -> str:
    """Return the table."""
    rows = []
    for title, name in (("first byte of the reply", "first_ms"), ("whole reply", "whole_ms")):
        sides = (
            f"{figures[side][name]['p50']:.0f} / {figures[side][name]['p99']:.0f} ms" for side in ("plain", "guard")
        )
        rows.append([f"{title}, p50 / p99 of {figures['replies']}", *sides])
    bad = (str(figures[side]["released_bad_bytes"]) for side in ("plain", "guard"))
    rows.append([f"bad bytes released, {figures['chunkings']} ways of cutting", *bad])
    head = f"{figures['tokens']} tokens, one in {figures['pace_ms']:g} ms"
    return table([head, "pass-through", "guard"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replies", type=int, default=REPLIES)
    parser.add_argument("--pace-ms", type=float, default=PACE_MS)
    parser.add_argument("--chunkings", type=int, default=CHUNKINGS)
    chosen = parser.parse_args()
    heard, released = measured(chosen.replies, chosen.pace_ms, chosen.chunkings)
    figures: Figures = {"tokens": TOKENS, "pace_ms": chosen.pace_ms, "replies": chosen.replies}
    figures["chunkings"] = chosen.chunkings
    for side, found in heard.items():
        figures[side] = {
            "first_ms": spread([one.first_ms for one in found]),
            "whole_ms": spread([one.whole_ms for one in found]),
            "released_bad_bytes": released[side],
        }
    print(shown(figures))
    print(f"\n{save('stream', figures)}")
    if released["guard"]:
        raise SystemExit("bad bytes got out: promise 3 is broken")


if __name__ == "__main__":
    main()
