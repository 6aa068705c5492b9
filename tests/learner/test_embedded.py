"""The embedded Redis: one owner per data folder, no orphans, no older server, nothing acknowledged lost."""

import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from learner.embedded import DataLock, EmbeddedRedis, record_version, socket_path
from learner.errors import DataFolderError, StoreError, StoreVersionError
from learner.session import pointer
from learner.store import Keys, Store

OWNER = """
    import sys, time
    from pathlib import Path
    from learner.embedded import EmbeddedRedis
    server = EmbeddedRedis(Path(sys.argv[1]))
    server.start()
    print(server.pid, flush=True)
    sys.stdin.read()
"""


def owner_of(data_dir: Path) -> subprocess.Popen[str]:
    """A process that keeps the embedded Redis of a folder; it has printed the server's pid."""
    command = [sys.executable, "-c", textwrap.dedent(OWNER), str(data_dir)]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)


def test_it_starts_twice_on_the_same_folder_and_keeps_its_socket_to_its_user(tmp_path: Path) -> None:
    for _ in range(2):
        with EmbeddedRedis(tmp_path) as server:
            store = Store(server.url)
            assert store.run(pointer(Keys("tay"))).live == "factory"
            store.close()
            assert stat.S_IMODE(socket_path(tmp_path).parent.stat().st_mode) == 0o700
        assert not server.alive


def test_kill_9_of_its_owner_leaves_no_server_and_a_free_lock(tmp_path: Path) -> None:
    with owner_of(tmp_path) as owner:
        assert owner.stdout
        server_pid = int(owner.stdout.readline())
        lock = DataLock(tmp_path)
        with pytest.raises(DataFolderError, match=f"process {owner.pid};"):
            lock.acquire(wait_s=0)
        owner.send_signal(signal.SIGKILL)
        owner.wait(10)
        lock.acquire(wait_s=10)
        assert not Path(f"/proc/{server_pid}").exists() or "Z" in Path(f"/proc/{server_pid}/stat").read_text()
        lock.release()


def test_the_lock_stays_with_the_server_when_its_owner_lets_go(tmp_path: Path) -> None:
    lock = DataLock(tmp_path)
    lock.acquire()
    server = EmbeddedRedis(tmp_path, lock=lock)
    server.start()
    lock.release()
    with pytest.raises(DataFolderError, match="in use"):
        DataLock(tmp_path).acquire(wait_s=0)
    server.stop()
    with DataLock(tmp_path):
        pass


def test_a_path_too_long_for_a_socket_moves_it_to_a_short_one(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    assert len(os.fsencode(socket_path(deep))) <= 107
    assert socket_path(deep) == socket_path(deep)
    assert socket_path(deep) != socket_path(tmp_path / ("e" * 100))
    with EmbeddedRedis(deep) as server:
        Store(server.url).ping()
    socket_path(deep).parent.rmdir()


def test_a_socket_folder_that_is_not_a_folder_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "redis").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataFolderError, match="redis"):
        EmbeddedRedis(tmp_path / "data").start()
    DataLock(tmp_path / "data").acquire(wait_s=0)


def test_an_older_server_than_the_data_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text('{"redis_version": "99.0.0"}')
    with pytest.raises(StoreVersionError, match=r"start Redis 99\.0\.0 or newer"):
        EmbeddedRedis(tmp_path).start()


def test_an_older_server_by_url_is_refused_too(store: Store, bot_keys: Keys) -> None:
    assert record_version(bot_keys, store).startswith("6.")
    store._redis.hset(bot_keys.state, "redis_version", "99.1.0")
    with pytest.raises(StoreVersionError, match=r"99\.1\.0"):
        record_version(bot_keys, store)


def test_what_is_no_redis_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no redis-server"):
        EmbeddedRedis(tmp_path, "/bin/echo").start()
    with pytest.raises(StoreError, match="cannot be run"):
        EmbeddedRedis(tmp_path, "/nowhere/redis-server").start()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataFolderError, match="choose another data folder"):
        EmbeddedRedis(tmp_path / "file").start()


def test_a_torn_tail_of_the_append_only_file_loads(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        store = Store(server.url)
        record_version(Keys("tay"), store)
        store.close()
    path = tmp_path / "redis" / "appendonly.aof"
    with path.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100\r\nhalf")
    with EmbeddedRedis(tmp_path) as server:
        Store(server.url).ping()


def test_a_corrupt_append_only_file_is_an_error_that_quotes_the_server(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "appendonly.aof").write_bytes(b"rubbish\r\n" * 10)
    with pytest.raises(StoreError, match="append only file"):
        EmbeddedRedis(tmp_path).start()
