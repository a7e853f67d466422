# Every command a newcomer or CI needs. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# As pip does: the certificates of the system, so that an index behind a company's proxy can be reached.
export UV_SYSTEM_CERTS := 1

.PHONY: help up demo examples test stock check measures chaos long bench compare format pins pins-check clean
help:  ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

up: .venv/.installed  ## Postgres, Valkey, a small model, API, worker, sweeper and Flower on this machine; Ctrl-C stops all
	@$(BIN)/backburner up

demo: .venv/.installed  ## the same stack: one background response from queued to completed, one cancelled
	@$(BIN)/backburner demo

examples: .venv/.dev-installed  ## every script of examples/, on the stack that runs here or on one of its own
	@$(BIN)/python -m examples

# Compiled modules are kept whatever the environment says, because the suite starts hundreds of interpreters.
test: .venv/.dev-installed  ## the whole suite; it starts its own servers
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest tests -n 3 --no-loadscope-reorder --durations=10

stock: .venv/.dev-installed  ## a short suite on Debian's PostgreSQL, Redis and PgBouncer as they are; installs them with apt
	@$(BIN)/python -m tests.stock.packages
	@$(BIN)/python -m pytest tests/stock -m stock -n 3 --dist loadfile --durations=10

check: .venv/.dev-installed  ## formatting, lint, types, import rules, limits of the measures, messages of commits
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m checks.measures --check
	@$(BIN)/python -m checks.commits

measures: .venv/.dev-installed  ## the code in figures, next to those of BASE=<commit>; LOWER=1 lowers their limits
	@$(BIN)/python -m checks.measures $(if $(BASE),--base $(BASE)) $(if $(LOWER),--lower)

# Variables of the command line reach the tests. A seed takes about seven minutes on two cores.
chaos: .venv/.dev-installed  ## every fault in the middle of a mixed load, on real processes; SEEDS=3 SEED=1
	@$(BIN)/python -m pytest tests/chaos/test_scenarios.py tests/chaos/test_faults.py tests/chaos/test_kills.py -m long

long: .venv/.dev-installed  ## the other long suites: ten minutes of mixed faults (MIXED_S=600), backlog, streams, fuzzing
	@$(BIN)/python -m pytest tests/chaos -m long --ignore tests/chaos/test_scenarios.py \
		--ignore tests/chaos/test_faults.py --ignore tests/chaos/test_kills.py

bench: .venv/.bench-installed  ## how close each path is to what this machine can do; QUICK=1 for four minutes
	@$(BIN)/python -m bench $(if $(QUICK),--quick)

compare: .venv/.bench-installed  ## HEAD against BASE=commit, measured by turns; fails if a row is worse; QUICK=1 for ten minutes
	@$(BIN)/python -m bench.compare $(if $(QUICK),--quick) $(BASE)

format: .venv/.dev-installed  ## rewrite files as ruff formats them
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

PINS = $(CURDIR)/$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header
PINS_FOLDER = requirements
pins: .venv/.dev-installed  ## resolve requirements/*.in again; pins that still fit are kept
	@cd $(PINS_FOLDER) && \
	$(PINS) runtime.in -o runtime.txt && \
	$(PINS) --no-deps local.in -c runtime.txt -o local.txt && \
	$(PINS) dev.in -c runtime.txt -c local.txt -o dev.txt && \
	$(PINS) bench.in -c runtime.txt -c local.txt -c dev.txt -o bench.txt

# It needs the package index, and fails without it. A copy is resolved, so that the check changes nothing.
pins-check: .venv/.dev-installed  ## requirements/*.txt are what `make pins` makes, with wheels for every supported Python
	@$(BIN)/python -m checks.pins
	@rm -rf .venv/pins && cp -R requirements .venv/pins
	@$(MAKE) -s pins PINS_FOLDER=.venv/pins
	@diff -ru requirements .venv/pins || { echo "requirements/*.txt differ from requirements/*.in: run 'make pins'." >&2; exit 1; }

clean:  ## stop nothing, delete the virtual environment (data in .backburner stays)
	rm -rf .venv

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Backburner needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 up")'
	@$(PYTHON) -m venv .venv

.venv/.installed: requirements/runtime.txt requirements/local.txt pyproject.toml | .venv/bin/python
	@echo "Installing pinned requirements into .venv ..."
	@$(BIN)/python -m pip install -q --no-deps --require-hashes -r requirements/runtime.txt -r requirements/local.txt
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev-installed: requirements/dev.txt .venv/.installed
	@$(BIN)/python -m pip install -q --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

.venv/.bench-installed: requirements/bench.txt .venv/.installed
	@$(BIN)/python -m pip install -q --no-deps --require-hashes -r requirements/bench.txt
	@touch $@
