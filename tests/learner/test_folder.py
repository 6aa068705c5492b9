"""What is written survives a power loss: file and folder are flushed before the name counts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from learner.errors import ConflictError
from learner.folder import write_new
from learner.secrets import load_secret
from learner.server_version import check_version, note_in_folder


@pytest.mark.parametrize("act", [lambda folder: note_in_folder(folder, "7.0.2"), load_secret])
def test_a_small_file_of_the_data_folder_is_flushed_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], object]
):
    flushed: list[Path] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    act(tmp_path)
    assert [path.parent for path in flushed] == [tmp_path, tmp_path.parent]
    assert len(list(tmp_path.iterdir())) == 1


def test_the_servers_version_is_noted_and_noted_anew(tmp_path: Path):
    for version in ("6.2.14", "7.0.2"):
        note_in_folder(tmp_path, version)
        check_version(tmp_path, version)
    assert json.loads((tmp_path / "server.json").read_bytes()) == {"redis_version": "7.0.2"}


def test_a_new_file_never_takes_the_place_of_one_that_is_there(tmp_path: Path):
    write_new(tmp_path / "a", b"first", "a test")
    with pytest.raises(ConflictError, match="another process was first"):
        write_new(tmp_path / "a", b"second", "a test")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"first")]
