"""Start, watch and stop everything that ``tayguard serve`` is made of; no ML library is ever imported here.

The order is the lock on the data folder, the port, Redis, the learner, the workers; the way back is the reverse.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import select
import shlex
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from guard.auth import KeyRecord, list_keys, new_secret
from guard.children import Child
from guard.connect import marked_as_serving, no_redis
from guard.process import METRICS_VARIABLE, Boot, key_path
from guard.settings import ConfigurationError, Settings
from learner.embedded import DataLock, EmbeddedRedis, record_version
from learner.errors import DataFolderError, LearnerError, StoreError
from learner.store import Keys, Store

LOG = logging.getLogger("tayguard.supervisor")
WORKER = (sys.executable, "-m", "guard.worker")
LEARNER = (sys.executable, "-m", "guard.learner_process")
_STOP_LEARNER_S = 15.0
_LOOK_AGAIN_S = 0.25


class StartError(Exception):
    """The guard cannot start; the message is one line that says what to do. ``fault`` is the exit status."""

    def __init__(self, message: str, fault: int = 1) -> None:
        super().__init__(message)
        self.fault = fault


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches ``host``.

    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0"), is_loopback("localhost")
    (True, False, True)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def embedded_key(data_dir: Path) -> Path:
    """Return the file of the key with every role, made at the first start with mode 0600."""
    path = key_path(data_dir)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        path.chmod(0o600)
    else:
        with os.fdopen(descriptor, "w", encoding="ascii") as handle:
            handle.write(new_secret() + "\n")
    return path


class Supervisor:
    """The process tree of one guard.

    ``say`` gets the lines for people. ``worker`` and ``learner`` are the commands to start.
    """

    def __init__(
        self,
        settings: Settings,
        say: Callable[[str], None],
        *,
        worker: Sequence[str] = WORKER,
        learner: Sequence[str] = LEARNER,
    ) -> None:
        self._settings = settings
        self._say = say
        self._worker, self._learner_command = worker, learner
        self._loopback = is_loopback(settings.server.host)
        self._workers: list[Child] = []
        self._learner: Child | None = None
        self._redis: EmbeddedRedis | None = None
        self._stop = False
        self._wake = -1

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM.

        Raises
        ------
        StartError
            Something that must be there is not; whatever had started is stopped again.
        """
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._signals())
            self._lock(stack)
            listener = stack.enter_context(self._bound())
            url = self._start_redis(stack)
            self._check_keys(url)
            stack.callback(self._stop_children)
            self._start_learner(url)
            self._start_workers(url, listener)
            if not self._stop:
                self._tell(listener.getsockname()[1], time.monotonic() - began)
            self._watch()
            self._say("stopping")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        self._wake, writing = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(writing, False)
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        old = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._wake)
            os.close(writing)

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._stop = True

    def _lock(self, stack: contextlib.ExitStack) -> None:
        folder = self._settings.store.data_dir
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._data_lock = DataLock(folder)
            self._data_lock.acquire()
        except OSError as exc:
            raise StartError(f"cannot use the data folder {folder} ({exc.strerror}): choose another") from exc
        except DataFolderError as exc:
            raise StartError(str(exc)) from exc
        stack.callback(self._data_lock.release)

    @contextlib.contextmanager
    def _bound(self) -> Iterator[socket.socket]:
        host, port = self._settings.server.host.strip("[]"), self._settings.server.port
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listener = socket.socket(family, kind, protocol)
        except OSError as exc:
            raise StartError(
                f"cannot listen on {host}: {exc.strerror}; set server.host to an address of this machine"
            ) from exc
        with listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(address)
                listener.listen(1024)
            except OSError as exc:
                raise StartError(
                    f"cannot listen on {host} port {port} ({exc.strerror}): choose another with --port"
                ) from exc
            yield listener

    def _start_redis(self, stack: contextlib.ExitStack) -> str:
        settings = self._settings.store
        try:
            if settings.redis_url:
                url = settings.redis_url
            else:
                self._redis = EmbeddedRedis(settings.data_dir, settings.redis_server or None, lock=self._data_lock)
                stack.callback(self._redis.stop)
                url = self._redis.start()
                stack.enter_context(marked_as_serving(settings.data_dir))
            with contextlib.closing(Store(url)) as store:
                record_version(Keys(self._settings.bot.id), store)
        except StoreError as exc:
            raise StartError(no_redis(self._settings, exc)) from exc
        except LearnerError as exc:
            raise StartError(str(exc)) from exc
        except ValueError as exc:
            raise StartError(f"store.redis_url is not a Redis URL: {exc}", 2) from exc
        return url

    def _check_keys(self, url: str) -> None:
        if self._loopback:
            embedded_key(self._settings.store.data_dir)
            return
        with contextlib.closing(Store(url)) as store:
            good: list[KeyRecord] = [
                key for key in store.run(list_keys(Keys(self._settings.bot.id))) if not key.revoked_ms
            ]
        if not good:
            raise StartError(
                f"{self._settings.server.host} can be reached by others and no key is configured: run `tayguard keys "
                "create --role client` first, or set server.host to 127.0.0.1",
                2,
            )

    def _boot(self, url: str, *, listener: int = -1, index: int = 0) -> Boot:
        return Boot(
            settings=self._settings.model_dump(mode="json"),
            redis_url=url,
            parent=os.getpid(),
            ready=-1,
            socket=listener,
            index=index,
            loopback=self._loopback,
        )

    def _start_learner(self, url: str) -> None:
        self._learner = Child("learner", self._learner_command, self._boot(url))
        self._learner.start()
        self._await_ready([self._learner])

    def _start_workers(self, url: str, listener: socket.socket) -> None:
        shared = {METRICS_VARIABLE: str(self._metrics_folder())} if self._settings.server.workers > 1 else {}
        for index in range(self._settings.server.workers):
            boot = self._boot(url, listener=listener.fileno(), index=index)
            self._workers.append(Child(f"worker-{index}", self._worker, boot, shared))
        for child in self._workers:
            if not self._stop:
                child.start()
        self._await_ready([child for child in self._workers if child.pid])

    def _metrics_folder(self) -> Path:
        """Return an empty folder in which workers add up what each of them counts."""
        folder = self._settings.store.data_dir / "metrics"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        return folder

    def _await_ready(self, children: Sequence[Child]) -> None:
        end = time.monotonic() + self._settings.server.start_s
        waiting = {child.pipe: child for child in children}
        while waiting and not self._stop:
            left = end - time.monotonic()
            if left <= 0:
                names = ", ".join(child.name for child in waiting.values())
                raise StartError(
                    f"{names} not ready within server.start_s = {self._settings.server.start_s:g} s: raise it"
                )
            for pipe in self._select(list(waiting), left):
                ready = waiting[pipe].read_ready()
                if ready is None:
                    continue
                if ready.error:
                    raise StartError(f"{ready.error}", ready.fault)
                for note in ready.notes:
                    self._say(f"note: {note}")
                del waiting[pipe]

    def _select(self, pipes: list[int], timeout_s: float) -> list[int]:
        found, _, _ = select.select([*pipes, self._wake], [], [], timeout_s)
        if self._wake in found:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 4096)
        return [pipe for pipe in found if pipe != self._wake]

    def _watch(self) -> None:
        children = [*self._workers, *([self._learner] if self._learner else [])]
        while not self._stop:
            restarted = {child.pipe: child for child in children if child.pipe >= 0}
            dead = any(not child.alive for child in children)
            for pipe in self._select(list(restarted), _LOOK_AGAIN_S if dead else 5.0):
                ready = restarted[pipe].read_ready()
                if ready is not None and ready.error:
                    LOG.error(
                        "child_not_ready", extra={"fields": {"child": restarted[pipe].name, "error": ready.error}}
                    )
            self._tend_redis()
            for child in children:
                if not self._stop:
                    child.tend()

    def _tend_redis(self) -> None:
        if self._redis is None or self._redis.alive or self._stop:
            return
        LOG.error("redis_died", extra={"fields": {"again": True}})
        try:
            self._redis.start()
        except LearnerError as exc:
            LOG.error("redis_not_started", extra={"fields": {"error": str(exc)}})  # noqa: TRY400 - the line says it all

    def _stop_children(self) -> None:
        for child in self._workers:
            child.ask_to_stop()
        end = time.monotonic() + self._settings.server.shutdown_s + 2.0
        for child in self._workers:
            child.wait(end - time.monotonic())
        if self._learner is not None:
            self._learner.ask_to_stop()
            self._learner.wait(_STOP_LEARNER_S)

    def _tell(self, port: int, took_s: float) -> None:
        host = self._settings.server.host
        address = f"http://{host}:{port}"
        self._say(f"console  {address}/console")
        self._say(f"API      {address}/v1")
        secret = "YOUR_KEY"  # noqa: S105 - stands for one
        if self._loopback:
            path = key_path(self._settings.store.data_dir)
            self._say(f"key      {path}")
            secret = f"$(cat {shlex.quote(str(path))})"
        body = f'{{"model": "{self._settings.bot.id}", "messages": [{{"role": "user", "content": "hello"}}]}}'
        self._say(
            f'try      curl -s {address}/v1/chat/completions -H "Authorization: Bearer {secret}" '
            f"-H 'X-Tayguard-Author: you' -H 'Content-Type: application/json' -d '{body}'"
        )
        self._say(f"ready in {took_s:.1f} s (Ctrl-C stops it)")


def serve(settings: Settings) -> None:
    """Run a guard in the foreground; lines for people on stdout, JSON logs on stderr."""
    from guard.logs import configure

    configure(settings.log.level.upper())
    Supervisor(settings, lambda line: print(line, flush=True)).run()


__all__ = ["ConfigurationError", "StartError", "Supervisor", "embedded_key", "is_loopback", "serve"]
