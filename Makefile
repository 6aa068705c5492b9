# Everything a person does with the source: make setup, run, test, bench, soak, docs, lock.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# torch is apart from the lock, since its builds differ by machine. Where pip finds a GPU build that you do not want,
# PyTorch's own page ("Get Started", compute platform: CPU) gives the line that installs a CPU build; then run make setup.
TORCH ?= torch==2.13.0
SOAK_S ?= 600
DATA ?= ../shared/data
LINES ?= 100000
# Times first, while the machine is cool; those that read DATA are given it; the clone, which installs anew, at the end.
BENCHES := encoder startup message stream rollback "score_stream --lines $(LINES)" \
  "speed $(DATA)" "accuracy $(DATA)" "thresholds $(DATA)" "spans $(DATA)" "transforms $(DATA)" "language $(DATA)" "cache $(DATA)" clone

# A stamp holds what it was made from. It is written last, so that an interrupted run starts over.
STAMP_OF = { $(PYTHON) --version; echo "$(TORCH)"; cat $(1); } | sha256sum
SETUP_FILES := requirements.lock pyproject.toml $(wildcard filters/models/*.py filters/models/*.json filters/models/*.toml)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false

.PHONY: help setup setup-dev run test lint bench soak docs lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /make \1\t/' | expand -t 16

setup: ## a virtual environment in .venv with the pinned run-time; quick when nothing changed
	@key="$$($(call STAMP_OF,$(SETUP_FILES)))"; \
	if [ "$$(cat $(VENV)/.setup-stamp 2>/dev/null)" = "$$key" ]; then exit 0; fi; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "tayguard needs Python 3.11 or newer: make setup PYTHON=python3.11" >&2; exit 1; }; \
	if [ "$$($(BIN)/python --version 2>/dev/null)" != "$$($(PYTHON) --version)" ] || ! $(PIP) --version >/dev/null 2>&1; then \
	  echo "making $(VENV)"; $(PYTHON) -m venv --clear $(VENV); fi; \
	echo "installing what requirements.lock pins"; \
	$(PIP) install --no-compile --no-deps --require-hashes -r requirements.lock; \
	echo "installing $(TORCH)"; \
	$(PIP) install --no-compile "$(TORCH)"; \
	$(PIP) install --no-deps --editable .; \
	echo "compiling (start-up time should not depend on it)"; \
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib guard filters learner >/dev/null 2>&1 || true; \
	echo "building the encoder from its weights"; \
	$(ONE_THREAD) $(BIN)/python -m filters.models.build; \
	echo "$$key" > $(VENV)/.setup-stamp.new; mv $(VENV)/.setup-stamp.new $(VENV)/.setup-stamp

setup-dev: setup
	@key="$$($(call STAMP_OF,requirements-dev.lock))"; \
	if [ "$$(cat $(VENV)/.dev-stamp 2>/dev/null)" = "$$key" ]; then exit 0; fi; \
	echo "installing what requirements-dev.lock pins"; \
	$(PIP) install --no-deps --require-hashes -r requirements-dev.lock; \
	echo "$$key" > $(VENV)/.dev-stamp.new; mv $(VENV)/.dev-stamp.new $(VENV)/.dev-stamp

run: setup ## set up, then serve the embedded bot behind the guard
	@exec $(BIN)/tayguard serve

lint: setup-dev ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint ## lint, then unit, promises and end-to-end
	$(ONE_THREAD) $(BIN)/python -m pytest -m "not soak"

bench: setup-dev ## every figure that the README quotes; DATA is the data folder, LINES the lines of the long run
	@for bench in $(BENCHES); do echo "== python -m bench.$$bench"; $(ONE_THREAD) $(BIN)/python -m bench.$$bench; done

soak: setup-dev ## the long and destructive tests, bounded by SOAK_S seconds
	@SOAK_S=$(SOAK_S) $(ONE_THREAD) timeout --signal=INT --kill-after=30 $$(( $(SOAK_S) + 60 )) \
	  $(BIN)/python -m pytest -m soak || { status=$$?; [ $$status -eq 5 ] || exit $$status; }

docs: setup ## fill the README's tables from the code
	$(BIN)/python -m guard.settings README.md

lock: ## pin anew what pyproject.toml asks for
	PYTHON=$(PYTHON) tools/lock.sh "$(TORCH)"

clean: ## remove the environment and caches, never data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
