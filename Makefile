# SPDX-License-Identifier: MIT
# Every target sets itself up in $(VENV) and needs the network only the first time, root never (test-peers may: apt-get).

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
# Processes that the tests are shared among. Some judge times, and strictly only where nothing runs beside them: JOBS=0.
JOBS ?= 2

PY := $(VENV)/bin/python
SETUP = $(PYTHON) tools/venv.py $(VENV)
# The tests start hundreds of programs, and are many files themselves: compiled once, where the environment says never to
# keep that, they take half of the time. pytest keeps it in __pycache__, as Python does.
PYTEST = env -u PYTHONDONTWRITEBYTECODE $(PY) -m pytest

# All that tools keep stays in the clone.
export PYRIGHT_PYTHON_CACHE_DIR := $(abspath $(VENV))/pyright
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export npm_config_cache := $(CURDIR)/.peers/npm-cache
export npm_config_update_notifier := false

.DEFAULT_GOAL := help
.PHONY: help demo bench guard test test-oldest test-wide test-peers attack soak seeds breakages fuzz lint format types docs coverage clean

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20
	@echo "  PYTHON=python3.12 chooses the interpreter, VENV=.venv-3.12 the environment; ARGS= is passed to pytest or the benchmarks."
	@echo "  JOBS=4 runs the tests in 4 processes, JOBS=0 in a single one (for --pdb, and for strict timing)."

demo:  ## Run a tour of the library: processes that call each other over TCP and Unix sockets
	@$(SETUP) demo
	$(PY) examples/demo.py

bench:  ## Measure tieline and other libraries (ARGS=--help: options; ARGS=--write: store the results)
	@$(SETUP) bench
	$(PY) -m benchmarks $(ARGS)

guard:  ## Compare the I/O-free path with the stored times of this kind of machine (ARGS=--store: store new ones)
	@$(SETUP) test
	$(PY) -m benchmarks.iofree $(or $(ARGS),--guard)

test:  ## Run the tests; of large test matrices a part (tests/width.py says which)
	@$(SETUP) test
	$(PYTEST) -m "not peers and not wide" -n $(JOBS) --dist worksteal $(ARGS)

test-oldest:  ## Run the tests with the oldest supported versions of all libraries (VENV=.venv-oldest)
	@$(SETUP) oldest
	$(PYTEST) -m "not peers and not wide" -n $(JOBS) --dist worksteal $(ARGS)

test-wide:  ## Run the rest of the test matrices, which `make test` leaves out
	@$(SETUP) test
	$(PYTEST) -m "wide and not peers" -n $(JOBS) --dist worksteal $(ARGS)

# What pylsp reads Python with keeps a cache.
test-peers: export XDG_CACHE_HOME := $(CURDIR)/.peers/cache
test-peers:  ## Install other programs (may need root), and run the tests against them
	@$(SETUP) test peers
	bash tools/peers.sh
	$(PYTEST) -m peers $(ARGS)

attack:  ## Attack a server process over TCP, TLS, Unix sockets and WebSocket (ARGS=--short: a part; ARGS=--help)
	@$(SETUP) test
	$(PY) -m tests.attacks $(ARGS)

soak:  ## Run a server for an hour on asyncio and on trio, with 500 clients, 50 of them hostile (ARGS=--short: a minute; ARGS=--help)
	@$(SETUP) test
	$(PY) -m tests.soak $(ARGS)

seeds:  ## Run thousands of random conversations, reproducible by seed, over lossy connections (ARGS=--help; ARGS="--count 10 calls")
	@$(SETUP) test
	$(PY) -m tests.seeds $(ARGS)

breakages:  ## Break each guarantee in a copy of the source, and check that a test fails (ARGS=part of its name)
	@$(SETUP) test
	$(PY) -m tests.breakages $(ARGS)

fuzz:  ## Fuzz the core with atheris, one minute per target (ARGS=--help; Linux)
	@$(SETUP) test fuzz
	$(PY) -m tests.fuzz $(ARGS)

lint:  ## Check style (ruff)
	@$(SETUP) lint
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format:  ## Format the code (ruff)
	@$(SETUP) lint
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types:  ## Check types (mypy --strict, pyright)
	@$(SETUP) lint
	@code=0; \
	$(PY) -m mypy src tests tools benchmarks $(wildcard examples) || code=1; \
	$(PY) -m pyright --pythonpath $(PY) || code=1; \
	exit $$code

docs:  ## Build the documentation into docs/_build/html
	@$(SETUP) docs
	$(PY) -m sphinx -E -W --keep-going -n -q -b html -d docs/_build/doctrees docs docs/_build/html

coverage:  ## Check that tests/wire covers 100 % of src/tieline/wire, lines and branches
	@$(SETUP) test
	@code=0; \
	env -u PYTHONDONTWRITEBYTECODE $(PY) -m coverage run -m pytest tests/wire $(ARGS) || code=1; \
	$(PY) -m coverage report || code=1; \
	exit $$code

clean:  ## Remove everything that the other targets created, including environments
	rm -rf .venv .venv-* .peers .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage .coverage.* htmlcov docs/_build dist build
	find src tests tools docs benchmarks $(wildcard examples) -name __pycache__ -type d -prune -exec rm -rf {} +
