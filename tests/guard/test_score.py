"""`tayguard score` with many lines: order, one answer whatever the workers, a bounded window, and clean ends."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import random
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from filters import Guardian
from guard.cli_frame import CommandError
from guard.cli_score import lines_in
from guard.score_flow import scored, together
from guard.score_lines import LONGEST_LINE, LineError, Lines
from guard.score_pool import DEPTH_LINES, WINDOW_BYTES, WINDOW_LINES, Pool
from guard.score_worker import Post, Scorer
from guard.settings import load
from tests.score_child import pool, scorer

ROOT = Path(__file__).parents[2]
MIXED = [
    b"plain words",
    b'{"text": "iffy", "id": 7}',
    b"",
    b'{"text": "bad \\ud800 end", "prompt": "a question", "id": "x", "author": "au0", "conversation": "c1"}',
    "caf\u00e9 \u00fc\r".encode(),
    b'{"text": ""}',
]


def rows_of(data: bytes, *, workers: int = 1, alone_bytes: int = 0) -> list[str]:
    hire = (lambda: pool(workers)) if workers > 1 else None
    return [row for some in scored(Lines(io.BytesIO(data)), scorer(), hire, alone_bytes) for row in some]


def collect(found: list[str], rows: Iterable[Sequence[str]]) -> None:
    for some in rows:
        found += some


def waited(hired: Pool) -> Pool:
    while not hired.ready:
        hired.wait()
    return hired


@pytest.fixture(scope="module")
def hired() -> Iterator[Pool]:
    with pool() as made:
        yield waited(made)


@contextlib.contextmanager
def command(*arguments: str, **streams: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the stand-in command, and end it whatever happens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.score_child", "command", *arguments],
        cwd=ROOT, stdin=subprocess.PIPE, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("workers", [2, 3])
def test_the_rows_are_the_same_whatever_the_number_of_workers(workers: int) -> None:
    dice = random.Random(workers)
    lines = [
        dice.choice([*MIXED, b"slow " * dice.randint(1, 3), b"word " * dice.randint(1, 4_000)]) for _ in range(150)
    ]
    data = b"\n".join(lines)
    assert rows_of(data, workers=workers) == rows_of(data)


def test_lines_wider_than_a_pipe_come_back_whole(hired: Pool) -> None:
    texts = [letter * 150_000 for letter in "abcd"]
    lines = Lines(io.BytesIO("\n".join(texts).encode()))
    found = [json.loads(row)["text"] for some in together(lines, hired) for row in some]
    assert found == texts


def test_the_shipped_filter_gives_the_same_rows_with_two_workers(tmp_path: Path) -> None:
    texts = ["Hello there. How are you?", "You are a stupid idiot.", "y o u  i d i o t", "A walk by the river. " * 40]
    source = tmp_path / "texts"
    source.write_text("\n".join(texts * 5))
    settings = load(environ={})
    policy = Guardian().policy
    here = Scorer(Guardian(policy=policy), explain=True)
    post = Post(settings.model_dump(mode="json"), policy.to_json(), os.getpid(), explain=True)
    with source.open("rb") as file:
        alone = [row for some in scored(Lines(file), here) for row in some]
    with source.open("rb") as file, Pool(2, post.to_line()) as hired:
        side_by_side = [row for some in together(Lines(file), waited(hired)) for row in some]
    assert side_by_side == alone
    assert any(json.loads(row)["verdict"]["serve"] != "allow" for row in alone)
    assert all(json.loads(row)["scores"] for row in alone)


def test_a_few_lines_start_no_process() -> None:
    def refuse() -> Pool:
        raise AssertionError("a pool was started")

    lines = Lines(io.BytesIO(b"\n".join(MIXED)))
    assert sum(len(rows) for rows in scored(lines, scorer(), refuse)) == 5


def test_a_line_is_answered_before_the_next_one_comes() -> None:
    with command() as process:
        assert process.stdin
        assert process.stdout
        for text in ("one", "two", "three", "four"):
            process.stdin.write(text.encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["text"] == text


@pytest.mark.parametrize("bad", [b'{"text": 3}', b'{"text": "a"', b"\xff", b'{"id": 1}'])
@pytest.mark.parametrize("workers", [1, 2])
def test_every_line_before_a_bad_one_is_written_and_the_bad_one_named(bad: bytes, workers: int) -> None:
    data = b"\n".join([b"slow words"] * 40 + [bad] + [b"after"] * 40)
    found: list[str] = []
    with pytest.raises(LineError, match="line 41 ") as caught:
        collect(found, scored(Lines(io.BytesIO(data)), scorer(), (lambda: pool(2)) if workers > 1 else None, 0))
    assert len(found) == 40
    assert caught.value.status == 2


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            self.given += size
            return b"good\n" if self.given == size else b"x" * size

    source = Endless()
    lines = Lines(source)
    found: list[str] = []
    with pytest.raises(LineError, match="line 2 is longer"):
        collect(found, scored(lines, scorer()))
    assert len(found) == 1
    assert source.given < LONGEST_LINE + 1_000_000


def test_the_window_is_bounded_in_lines_and_bytes() -> None:
    with pool(1) as many, pool(1) as wide:
        while many.has_room:
            many.submit(b"line")
        while wide.has_room:
            wide.submit(b"x" * 100_000)
    assert many.in_flight == WINDOW_LINES > 2 * DEPTH_LINES
    assert wide.in_flight <= WINDOW_BYTES // 100_000 + 1


def test_twenty_thousand_lines_take_no_more_memory_than_two_thousand(hired: Pool, tmp_path: Path) -> None:
    source = tmp_path / "lines"
    with source.open("wb") as file:
        file.writelines(b'{"text": "line %d says little", "id": %d}\n' % (number, number) for number in range(20_000))
    done, most, early_kb = 0, 0, 0
    with source.open("rb") as file:
        for rows in together(Lines(file), hired):
            done += len(rows)
            most = max(most, hired.in_flight)
            early_kb = early_kb or (resident_kb() if done >= 2_000 else 0)
            assert json.loads(rows[-1])["id"] == done - 1
    assert done == 20_000
    assert most <= WINDOW_LINES
    assert resident_kb() - early_kb < 4_000  # measured: under 300; all lines and rows held would be 8,000


def resident_kb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def test_a_long_text_does_not_stop_the_other_process(hired: Pool) -> None:
    hired.submit(b"slow. " * 40)
    for _ in range(60):
        hired.submit(b"quick")
    while len(hired._rows) < 50:
        hired.wait()
    assert hired.rows() == []
    while hired.in_flight:
        hired.rows() or hired.wait()


def test_a_process_that_dies_ends_it_in_one_line_and_nothing_is_made_up() -> None:
    data = b"\n".join([b"fine"] * 20 + [b"die"] + [b"fine"] * 300)
    found: list[str] = []
    with pool() as dying, pytest.raises(CommandError, match=r"status 3.*--workers 1"):
        collect(found, together(Lines(io.BytesIO(data)), waited(dying)))
    assert all(json.loads(row)["text"] == "fine" for row in found)


def test_a_process_that_cannot_start_says_why() -> None:
    with pool(kind="refusing") as hired, pytest.raises(CommandError, match="no weights here"):
        waited(hired)


def test_a_closed_pool_leaves_no_process() -> None:
    before = set(children_of(os.getpid()))
    with pool() as closing:
        assert len(set(children_of(os.getpid())) - before) == 2
        waited(closing)
    assert set(children_of(os.getpid())) == before


def test_a_closed_pipe_ends_it_without_a_word() -> None:
    with command() as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stderr.readline()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(b"fine\n" * 300)
            process.stdin.flush()
            process.stdout.readline()
            process.stdout.close()
            process.stdin.write(b"fine\n" * 20_000)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 1
        process.stdin = process.stdout = None


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_ends_it_and_its_processes_without_a_word(workers: str) -> None:
    with command("--workers", workers) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stderr.readline()
        process.stdin.write(b"fine\n" * 300)
        process.stdin.flush()
        for _ in range(300):
            process.stdout.readline()
        children = children_of(process.pid)
        assert len(children) == (2 if workers == "2" else 0)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b""
        assert process.wait(20) == 128 + signal.SIGINT
        assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_lines_are_counted_from_where_a_file_is_read_on(tmp_path: Path) -> None:
    source = tmp_path / "lines"
    source.write_bytes(b"one\ntwo\nthree")
    with source.open("rb", buffering=0) as file:
        assert lines_in(file.fileno()) == 3
        file.read(4)
        assert lines_in(file.fileno()) == 2
        assert file.read() == b"two\nthree"
    reader, writer = os.pipe()
    assert lines_in(reader) is None
    assert lines_in(None) is None
    os.close(reader)
    os.close(writer)


def test_a_terminal_is_shown_how_many_of_how_many_and_how_quickly(tmp_path: Path) -> None:
    source = tmp_path / "lines"
    source.write_text("hello\n" * 12)
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "TAYGUARD_DATA_DIR": str(tmp_path)}
    with source.open("rb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "guard.cli", "score"],
            cwd=ROOT, stdin=file, stdout=subprocess.PIPE, stderr=theirs, env=environ,
        )  # fmt: skip
    os.close(theirs)
    out, _ = process.communicate(timeout=60)
    shown = b""
    with contextlib.suppress(OSError):  # a terminal whose other end is closed reads as an error
        while block := os.read(ours, 4096):
            shown += block
    os.close(ours)
    assert len(out.splitlines()) == 12
    assert b"12/12" in shown
    assert b"lines/s" in shown


def test_a_folder_as_input_is_one_line(tmp_path: Path) -> None:
    class Folder(io.BytesIO):
        def fileno(self) -> int:
            return descriptor

    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(LineError, match="standard input cannot be read"):
        Lines(Folder()).read()
    os.close(descriptor)
