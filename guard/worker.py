"""A worker: uvicorn on the socket that the supervisor bound, with everything wired into one app."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from filters.errors import FilterError
from guard.app import Running
from guard.logs import configure
from guard.process import METRICS_VARIABLE, Boot, Ready, read_boot, report
from guard.settings import ConfigurationError
from guard.wiring import Wiring
from guard.wiring_app import app_of
from learner.errors import LearnerError, StoreError


class ReportingServer(uvicorn.Server):
    """Says once that it is ready, when its app has started."""

    def __init__(self, config: uvicorn.Config, running: Running, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._running = running
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load what is live, start, then say so."""
        with suppress(StoreError):
            await self._running.live.look()
        if self._running.live.pointer is not None:
            now = self._running.live.pointer
            await self._running.deps.upstream.follow(now.live, now.previous)
        await super().startup(sockets)
        if self.started and not self.should_exit:
            self._ready()


def serve(boot: Boot) -> None:
    """Serve until SIGTERM; requests in flight may finish within ``server.shutdown_s``."""
    settings = boot.tree
    wiring = Wiring(settings, boot.redis_url)
    app = app_of(wiring, loopback=boot.loopback, metrics_dir=os.environ.get(METRICS_VARIABLE, ""))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws="none",  # there are none, and uvicorn would log their address with a `?key=` in it
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        timeout_graceful_shutdown=max(1, round(settings.server.shutdown_s)),
    )
    server = ReportingServer(config, app.state.running, lambda: report(boot, Ready()))
    try:
        server.run(sockets=[socket.socket(fileno=boot.socket)])
    finally:
        wiring.close()


def main() -> int:
    """Run one worker."""
    boot = read_boot()
    configure(boot.settings["log"]["level"].upper())
    try:
        serve(boot)
    except ConfigurationError as exc:
        report(boot, Ready(error=str(exc), fault=2))
        return 2
    except (LearnerError, FilterError) as exc:
        report(boot, Ready(error=str(exc)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
