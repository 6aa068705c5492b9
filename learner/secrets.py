"""The data folder's secret, and the keyed hashes made with it."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

from learner.errors import DataFolderError
from learner.folder import sync_folder

SECRET_BYTES = 32


def load_secret(data_dir: Path) -> bytes:
    """Return the 32 bytes of ``data_dir/secret``, made on first use and readable by its owner only.

    Raises
    ------
    DataFolderError
        The file cannot be written or is not 32 bytes long; without it, authors of before cannot be recognised.
    """
    path = data_dir / "secret"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _write_once(path, secrets.token_bytes(SECRET_BYTES))
        secret = path.read_bytes()
    except OSError as exc:
        raise DataFolderError(f"cannot read or write {path} ({exc.strerror}); check the data folder's owner") from exc
    if len(secret) != SECRET_BYTES:
        raise DataFolderError(f"{path} is not {SECRET_BYTES} bytes long; restore it from a backup of the data folder")
    return secret


def _write_once(path: Path, content: bytes) -> None:
    """Write a file whole and synced, or leave the one that another process put there first."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(part)
        sync_folder(path.parent)
    except FileExistsError:
        pass
    finally:
        part.unlink()


class KeyedHash:
    """Names that only this data folder can make: HMAC-SHA256 of a text, apart for every purpose.

    >>> hashed = KeyedHash(b"k" * 32)
    >>> hashed("ann", "author") == hashed("ann", "message")
    False
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def __call__(self, text: str, purpose: str) -> str:
        """Return 32 hexadecimal digits for ``text``, which may hold any code point."""
        key = hmac.digest(self._secret, purpose.encode(), "sha256")
        return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]
