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
	@echo "  PYTHON=python3.12 chooses the interpreter, VENV=.venv-3.12 the environment, ARGS= goes to pytest or the benchmarks."
	@echo "  JOBS=4 runs the tests in so many processes side by side, JOBS=0 one after the other in one (for --pdb, and for strict times)."

demo:  ## Show the main job on real input
	@$(SETUP) demo
	$(PY) examples/demo.py

bench:  ## Measure tieline and its peers (ARGS=--help tells more; ARGS=--write keeps the results)
	@$(SETUP) bench
	$(PY) -m benchmarks $(ARGS)

guard:  ## Hold the I/O-free path to the stored times of such a machine (ARGS=--store instead keeps new ones)
	@$(SETUP) test
	$(PY) -m benchmarks.iofree $(or $(ARGS),--guard)

test:  ## Run all tests that need no foreign programs, of products a part (tests/width.py says which)
	@$(SETUP) test
	$(PYTEST) -m "not peers and not wide" -n $(JOBS) --dist worksteal $(ARGS)

test-oldest:  ## Run the tests with the oldest versions of all libraries that users may have (VENV=.venv-oldest)
	@$(SETUP) oldest
	$(PYTEST) -m "not peers and not wide" -n $(JOBS) --dist worksteal $(ARGS)

test-wide:  ## Run the rest of the products: with `make test`, all there is without foreign programs
	@$(SETUP) test
	$(PYTEST) -m "wide and not peers" -n $(JOBS) --dist worksteal $(ARGS)

# What pylsp reads Python with keeps a cache.
test-peers: export XDG_CACHE_HOME := $(CURDIR)/.peers/cache
test-peers:  ## Install foreign programs (may need root) and run the tests against them
	@$(SETUP) test peers
	bash tools/peers.sh
	$(PYTEST) -m peers $(ARGS)

attack:  ## Play the hostile cases of TCP, TLS, Unix sockets and WebSockets against a server process (ARGS=--short: a part; ARGS=--help)
	@$(SETUP) test
	$(PY) -m tests.attacks $(ARGS)

soak:  ## Use a server for an hour on asyncio and on trio, a tenth of 500 clients hostile (ARGS=--short: a minute; ARGS=--help)
	@$(SETUP) test
	$(PY) -m tests.soak $(ARGS)

seeds:  ## Play thousands of conversations that a seed decides, over lossy connections (ARGS=--help; ARGS="--count 10 calls")
	@$(SETUP) test
	$(PY) -m tests.seeds $(ARGS)

breakages:  ## Break each promise in a copy of the source, and see that a test fails (ARGS=part of a promise)
	@$(SETUP) test
	$(PY) -m tests.breakages $(ARGS)

fuzz:  ## Have atheris look for bytes that break the core (ARGS=--help; one minute for each target; Linux)
	@$(SETUP) test fuzz
	$(PY) -m tests.fuzz $(ARGS)

lint:  ## Check style (ruff)
	@$(SETUP) lint
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format:  ## Let ruff rewrite the files
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

coverage:  ## Hold src/tieline/wire to 100 % of lines and branches, by tests/wire alone
	@$(SETUP) test
	@code=0; \
	env -u PYTHONDONTWRITEBYTECODE $(PY) -m coverage run -m pytest tests/wire $(ARGS) || code=1; \
	$(PY) -m coverage report || code=1; \
	exit $$code

clean:  ## Remove all that the other targets made, environments included
	rm -rf .venv .venv-* .peers .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage .coverage.* htmlcov docs/_build dist build
	find src tests tools docs benchmarks $(wildcard examples) -name __pycache__ -type d -prune -exec rm -rf {} +
