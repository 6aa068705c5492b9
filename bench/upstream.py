"""A small OpenAI-shaped server on loopback that streams scripted replies at a steady pace; not a figure by itself."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

MODEL = "paced"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    pieces: ClassVar[Sequence[str]] = ()
    pace_s: ClassVar[float] = 0.0

    def do_GET(self) -> None:
        self._whole({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        kind = type(self)
        began = time.perf_counter()
        try:
            for number, piece in enumerate(kind.pieces):
                late_s = began + number * kind.pace_s - time.perf_counter()
                if late_s > 0:
                    time.sleep(late_s)
                self._event({"content": piece})
            self._event({}, "stop")
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:  # the guard has cut the reply off
            return

    def _event(self, delta: dict[str, Any], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        body = {"id": "paced", "object": "chat.completion.chunk", "created": 0, "model": MODEL, "choices": [choice]}
        self.wfile.write(b"data: " + json.dumps(body).encode() + b"\n\n")
        self.wfile.flush()

    def _whole(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


class Paced:
    """The running server: ``url``, and what it says next, in which pieces and how far apart."""

    def __init__(self, url: str, handler: type[_Handler]) -> None:
        self.url = url
        self._handler = handler

    def says(self, pieces: Sequence[str], pace_s: float = 0.0) -> None:
        """Have every reply from now on be these pieces."""
        self._handler.pieces, self._handler.pace_s = tuple(pieces), pace_s


@contextmanager
def paced() -> Iterator[Paced]:
    """Run the server until the block ends."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield Paced(f"http://127.0.0.1:{server.server_port}/v1", handler)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
