"""The manifest of a version: what it is made of, by content address. See :class:`learner.types.Version`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from learner.errors import CorruptError, UnknownIdError
from learner.folder import canonical, file_sha256, read_json, sha256, write_folder
from learner.types import Version

MANIFEST = "manifest.json"
RANKER = "ranker.safetensors"
TOMBSTONES = "tombstones.bin"


def weights_of(segments: Sequence[str], tombstones: str, ranker: str, encoder: str) -> str:
    """Return the sha256 that names weights alone: equal weights have equal names whatever led to them."""
    return sha256(
        canonical({"segments": list(segments), "tombstones": tombstones, "ranker": ranker, "encoder": encoder})
    )


def id_of(weights: str, update: str) -> str:
    """Return the id of a version: sha256 over its weights and its update, free of time."""
    return sha256(canonical({"weights": weights, "update": update}))


def folder_of(folder: Path, version_id: str) -> Path:
    """Return where a version's files lie in a data folder."""
    return folder / "versions" / version_id


def write_version(folder: Path, version: Version, ranker: bytes, tombstones: bytes) -> Version:
    """Name a version by its content, write it as one step, and return it; a sound one that is there already stays."""
    version = replace(version, ranker=sha256(ranker), tombstones=sha256(tombstones))
    weights = weights_of(version.segments, version.tombstones, version.ranker, version.encoder)
    version = replace(version, weights=weights, id=id_of(weights, version.update))
    try:
        there = read_version(folder, version.id)
        verify_own_files(folder, there)
    except (UnknownIdError, CorruptError):
        pass
    else:
        return there
    body = to_json(version)
    manifest = canonical({**body, "checksum": sha256(canonical(body))})
    files = {MANIFEST: manifest, RANKER: ranker, TOMBSTONES: tombstones}
    write_folder(folder_of(folder, version.id), files, "version write")
    return version


def read_version(folder: Path, version_id: str) -> Version:
    """Return the version that a data folder holds under an id.

    Raises
    ------
    UnknownIdError
        There is no such version.
    CorruptError
        Its manifest is not what its name says.
    """
    path = folder_of(folder, version_id) / MANIFEST
    if not path.parent.is_dir():
        raise UnknownIdError(f"no version {version_id[:12]}: `tayguard versions` lists what there is")
    body = read_json(path)
    checksum = body.pop("checksum", None)
    if checksum != sha256(canonical(body)) or set(body) != {field.name for field in fields(Version)}:
        raise CorruptError(f"manifest.json of version {version_id[:12]} is damaged; choose another version")
    version = Version(**{**body, "segments": tuple(body["segments"])})
    weights = weights_of(version.segments, version.tombstones, version.ranker, version.encoder)
    if version.weights != weights or version.id != id_of(weights, version.update) or version.id != version_id:
        raise CorruptError(f"manifest.json of version {version_id[:12]} is not that version's; choose another version")
    return version


def verify_own_files(folder: Path, version: Version) -> None:
    """Raise :class:`CorruptError` unless manifest, ranker and tombstones of a version are what its id says."""
    if read_version(folder, version.id) != version:
        raise CorruptError(f"manifest.json of version {version.id[:12]} says something else; choose another version")
    home = folder_of(folder, version.id)
    for name, expected in ((RANKER, version.ranker), (TOMBSTONES, version.tombstones)):
        if file_sha256(home / name) != expected:
            raise CorruptError(f"{name} of version {version.id[:12]} is damaged; choose another version")


def to_json(version: Version) -> dict[str, Any]:
    """Return a version as plain JSON values."""
    return {**asdict(version), "segments": list(version.segments)}
