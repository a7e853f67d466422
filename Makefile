# Commands for development and CI. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Use the system's certificates, as pip does, so that an index behind a corporate proxy can be reached.
export UV_SYSTEM_CERTS := 1

.PHONY: help up demo examples test stock check measures chaos long bench compare format pins pins-check clean
help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

up: .venv/.installed  ## run Postgres, Valkey, a small model, API, worker, sweeper and Flower on this machine until Ctrl-C
	@$(BIN)/backburner up

demo: .venv/.installed  ## run one background response to completion and cancel another one, on the running stack or else on a new one
	@$(BIN)/backburner demo

examples: .venv/.dev-installed  ## run all scripts of examples/ on the running stack, or else on a new one
	@$(BIN)/python -m examples

# Bytecode is always written, overriding the environment, because the suite starts hundreds of interpreters.
test: .venv/.dev-installed  ## run the full test suite; it starts its own servers
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest tests -n 3 --no-loadscope-reorder --durations=10

stock: .venv/.dev-installed  ## run a short suite on Debian's PostgreSQL, Redis and PgBouncer with default settings; installs them with apt
	@$(BIN)/python -m tests.stock.packages
	@$(BIN)/python -m pytest tests/stock -m stock -n 3 --dist loadfile --durations=10

check: .venv/.dev-installed  ## check formatting, lint, types, import rules, code metrics and commit messages
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m checks.measures --check
	@$(BIN)/python -m checks.commits

measures: .venv/.dev-installed  ## print code metrics, compared with BASE=<commit> if given; LOWER=1 lowers their limits
	@$(BIN)/python -m checks.measures $(if $(BASE),--base $(BASE)) $(if $(LOWER),--lower)

# The tests read the variables of make's command line. One seed takes about seven minutes on two cores.
chaos: .venv/.dev-installed  ## inject every fault into real processes under mixed load; SEEDS=3 SEED=1 runs the seeds 1 to 3
	@$(BIN)/python -m pytest tests/chaos/test_scenarios.py tests/chaos/test_faults.py tests/chaos/test_kills.py -m long

long: .venv/.dev-installed  ## run the other long suites: mixed faults for ten minutes (MIXED_S=600), backlog, streams, fuzzing
	@$(BIN)/python -m pytest tests/chaos tests/e2e -m long --ignore tests/chaos/test_scenarios.py \
		--ignore tests/chaos/test_faults.py --ignore tests/chaos/test_kills.py

bench: .venv/.bench-installed  ## benchmark each path against the limits of this machine; QUICK=1 takes four minutes
	@$(BIN)/python -m bench $(if $(QUICK),--quick)

compare: .venv/.bench-installed  ## benchmark HEAD and BASE=<commit> alternately; fails on a regression; QUICK=1 takes ten minutes
	@$(BIN)/python -m bench.compare $(if $(QUICK),--quick) $(BASE)

format: .venv/.dev-installed  ## format all files with ruff and apply its automatic fixes
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

PINS = $(CURDIR)/$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header
PINS_FOLDER = requirements
pins: .venv/.dev-installed  ## resolve requirements/*.in again; pins that are still valid are kept
	@cd $(PINS_FOLDER) && \
	$(PINS) runtime.in -o runtime.txt && \
	$(PINS) --no-deps local.in -c runtime.txt -o local.txt && \
	$(PINS) dev.in -c runtime.txt -c local.txt -o dev.txt && \
	$(PINS) bench.in -c runtime.txt -c local.txt -c dev.txt -o bench.txt

# Needs access to the package index. The pins are resolved in a copy, so that the check does not change the files.
pins-check: .venv/.dev-installed  ## check that requirements/*.txt match `make pins` and have wheels for every supported Python
	@$(BIN)/python -m checks.pins
	@rm -rf .venv/pins && cp -R requirements .venv/pins
	@$(MAKE) -s pins PINS_FOLDER=.venv/pins
	@diff -ru requirements .venv/pins || { echo "requirements/*.txt differ from requirements/*.in: run 'make pins'." >&2; exit 1; }

clean:  ## delete the virtual environment; keeps the data in .backburner and stops no process
	rm -rf .venv

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Backburner needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 up")'
	@$(PYTHON) -m venv .venv

.venv/.installed: requirements/runtime.txt requirements/local.txt pyproject.toml | .venv/bin/python
	@echo "Installing pinned requirements into .venv; this downloads up to 230 MB ..."
	@$(BIN)/python -m pip install --no-deps --require-hashes -r requirements/runtime.txt -r requirements/local.txt
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev-installed: requirements/dev.txt .venv/.installed
	@echo "Installing the development requirements, with the openai client, into .venv ..."
	@$(BIN)/python -m pip install -q --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

.venv/.bench-installed: requirements/bench.txt .venv/.installed
	@$(BIN)/python -m pip install -q --no-deps --require-hashes -r requirements/bench.txt
	@touch $@
