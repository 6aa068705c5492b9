"""Which redis-server wrote the data: an older one may not read its append-only file, so it is refused."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from learner.errors import DataFolderError, StoreError, StoreVersionError
from learner.folder import canonical, write_file
from learner.store import Call, Keys, Store


def record_version(keys: Keys, store: Store) -> str:
    """Note the server's version in the bot's state and return it.

    Raises
    ------
    StoreVersionError
        A newer server has written the bot's data.
    """
    version = store.server_version()
    recorded = store.run(Call("note_version", (keys.prefix,), (version,), str))
    if _parts(recorded) > _parts(version):
        raise _too_old(recorded, version)
    return version


def _too_old(recorded: str, version: str) -> StoreVersionError:
    return StoreVersionError(
        f"the data was written by Redis {recorded}, this server is {version}; start Redis {recorded} or newer"
    )


def _parts(version: str) -> tuple[int, ...]:
    """Return a version as numbers to compare.

    >>> _parts("6.2.14") < _parts("7.0.2")
    True
    """
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def executable_version(executable: str) -> str:
    """Return the version that a redis-server says it is; raises :class:`StoreError` when it cannot be run."""
    try:
        answer = subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as exc:
        raise StoreError(f"{executable} cannot be run; install redis-server or tayguard[embedded]") from exc
    found = re.search(r"v=(\d+\.\d+\.\d+)", answer.stdout)
    if found is None:
        raise StoreError(f"{executable} is no redis-server: it says {answer.stdout[:80]!r}")
    return found[1]


def check_version(data_dir: Path, version: str) -> None:
    """Raise :class:`StoreVersionError` when a newer server has written the data folder."""
    path = data_dir / "server.json"
    if not path.exists():
        return
    try:
        recorded = str(json.loads(path.read_text("utf-8"))["redis_version"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise DataFolderError(f"{path} cannot be read; restore it, or delete it if this server wrote the data") from exc
    if _parts(recorded) > _parts(version):
        raise _too_old(recorded, version)


def note_in_folder(data_dir: Path, version: str) -> None:
    """Write down which server has the data folder from now on."""
    write_file(data_dir / "server.json", canonical({"redis_version": version}), "noting the redis-server")
