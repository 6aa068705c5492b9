"""A stand-in for a worker or the learner: speaks the supervisor's protocol, and as a worker answers with its pid."""

from __future__ import annotations

import os
import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from guard.process import Ready, read_boot, report
from guard.settings import load
from guard.supervisor import StartError, Supervisor


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


def child() -> None:
    """Run as a child; ``TG_TEST_ERROR`` in the environment makes it refuse."""
    boot = read_boot()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Path(
        boot.settings["store"]["data_dir"], f"pid-{'worker' if boot.socket >= 0 else 'learner'}-{boot.index}"
    ).write_text(str(os.getpid()))
    error = os.environ.get("TG_TEST_ERROR", "")
    report(boot, Ready(error=error, fault=2, notes=("said the learner",) if boot.socket < 0 else ()))
    if error:
        return
    if boot.socket < 0:
        signal.pause()
    server = HTTPServer(("", 0), _Answer, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=boot.socket)
    server.serve_forever()


def serve() -> int:
    """Run a supervisor whose children are stand-ins."""
    command = (sys.executable, "-m", "tests.child", "child")
    try:
        Supervisor(load(), lambda line: print(line, flush=True), worker=command, learner=command).run()
    except StartError as exc:
        print(exc, file=sys.stderr)
        return exc.fault
    return 0


if __name__ == "__main__":
    sys.exit(serve() if sys.argv[1] == "serve" else child())
