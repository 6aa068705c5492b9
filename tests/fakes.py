"""Small stand-ins for what tests must not need: models, other servers. Append, do not rewrite."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from filters.types import Item, Scores
from learner.types import Turn


class WordFilter:
    """Scores ``red`` by words: 1 where ``bad`` stands, 0.6 where ``iffy`` does. ``broken`` says how it fails.

    ``broken`` is one of ``""``, ``raise``, ``nan``, ``hang`` (until ``let_go`` is set), ``partial``.
    """

    name, version, labels = "words", "1", ("red",)

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.let_go = threading.Event()
        self.asked: list[Item] = []

    def score_many(self, items: Sequence[Item]) -> list[Scores]:
        self.asked += items
        if self.broken == "raise":
            raise RuntimeError("broken filter")
        if self.broken == "hang":
            self.let_go.wait(20)
        return [self._score(item.text) for item in items]

    def _score(self, text: str) -> Scores:
        value = 1.0 if "bad" in text else 0.6 if "iffy" in text else 0.0
        value = float("nan") if self.broken == "nan" else value
        return Scores(self.name, self.version, {"red": value}, coverage=0.5 if self.broken == "partial" else 1.0)


class ScriptedBot:
    """An Answerer that says what it is told to, in the pieces it is told to, or echoes the last turn in words."""

    def __init__(self, *pieces: str, version: str = "factory") -> None:
        self.pieces = pieces
        self.version = version
        self.heard: list[tuple[Turn, ...]] = []
        self.closed = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def reply(self, turns: Sequence[Turn], *, seed: int = 0, choice: int = 0) -> Iterator[str]:
        self.heard.append(tuple(turns))
        try:
            for piece in self.pieces or [f"You said: {turns[-1].text}"]:
                yield piece
                self.go_on.wait(20)
        finally:
            self.closed.set()

    def evidence(self, turns: Sequence[Turn], *, limit: int = 5) -> list[tuple[str, float]]:
        return [("factory:0", 1.0)][:limit]


class UpstreamServer:
    """A small OpenAI-shaped server on loopback whose next answers are scripted: ``(status, headers, body chunks)``.

    A chunk ``STALL`` waits until the server closes, ``RESET`` breaks the connection off.
    """

    STALL = b"\0stall"
    RESET = b"\0reset"

    def __init__(self) -> None:
        self.script: list[tuple[int, dict[str, str], list[bytes]]] = []
        self.requests: list[tuple[str, dict[str, str], dict]] = []
        self.closing = threading.Event()
        self.broken_pipes = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append((self.path, dict(self.headers), body))
                self._answer(*server.script.pop(0))

            def do_GET(self) -> None:
                server.requests.append((self.path, dict(self.headers), {}))
                rows = {"data": [{"id": "small"}]}
                self._answer(200, {"Content-Type": "application/json"}, [json.dumps(rows).encode()])

            def _answer(self, status: int, headers: dict[str, str], chunks: list[bytes]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Connection": "close"}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.close_connection = True
                for chunk in chunks:
                    if chunk == server.STALL:
                        server.closing.wait(20)
                    elif chunk == server.RESET:
                        self.connection.shutdown(2)
                        return
                    else:
                        try:
                            self.wfile.write(chunk)
                            self.wfile.flush()
                        except OSError:
                            server.broken_pipes += 1
                            return

            def log_message(self, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def says(self, *texts: str, finish: str = "stop") -> None:
        """Script a streamed reply."""
        chunks = [self.event({"content": text}) for text in texts]
        self.script.append((200, {}, [*chunks, self.event({}, finish), b"data: [DONE]\n\n"]))

    @staticmethod
    def event(delta: dict, finish: str | None = None, index: int = 0) -> bytes:
        """Return one chunk of a streamed reply."""
        body = {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}
        return b"data: " + json.dumps(body).encode() + b"\n\n"

    def close(self) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)


class LabelFilter(WordFilter):
    """Scores detoxify's labels by their names: 1 where one stands in the text, 0.6 where ``mild`` stands before it.

    ``broken`` may be ``absent`` as well: nothing fails, and no label is scored.
    """

    name = "labels"
    six = ("toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack")

    @property
    def labels(self) -> tuple[str, ...]:
        return () if self.broken == "absent" else self.six

    def _score(self, text: str) -> Scores:
        values = {label: 0.6 if f"mild {label}" in text else 1.0 if label in text else 0.02 for label in self.labels}
        if self.broken == "nan":
            values["insult"] = float("nan")
        return Scores(self.name, self.version, values, coverage=0.5 if self.broken == "partial" else 1.0)


class PacedFilter(WordFilter):
    """A word filter that takes ``pace_s`` for every unit."""

    def __init__(self, pace_s: float) -> None:
        super().__init__()
        self.pace_s = pace_s

    def score_many(self, items: Sequence[Item]) -> list[Scores]:
        self.let_go.wait(self.pace_s)
        return super().score_many(items)


class ContextFilter(WordFilter):
    """A word filter that also finds ``two`` bad right of ``one``, as a filter that reads the context would."""

    def score_many(self, items: Sequence[Item]) -> list[Scores]:
        return [
            Scores(self.name, self.version, {"red": 1.0})
            if "two" in i.text and "one" in "".join(i.context) + i.text
            else found
            for i, found in zip(items, super().score_many(items), strict=True)
        ]
