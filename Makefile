# Two commands on a fresh machine: `make run` and `make test`. Bare `make` prints this help.
PYTHON ?= python3
BIN := .venv/bin
# how many tests run side by side: most of them wait for processes more than they compute
TESTS ?= 3
# what `make chaos` runs: tests/chaos is the nemesis alone
CHAOS ?= tests

.DEFAULT_GOAL := help
.PHONY: help run test format lint types unit site dist bench chaos fuzz clean

help: ## print this help
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# what running needs
.venv/usable: pyproject.toml
	@echo "Setting up .venv with goflow and what it needs (some ten seconds) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

# what the checks need too
.venv/ready: .venv/usable
	@echo "Adding what the checks need: linter, types, tests, documentation (a minute or two) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

run: .venv/usable ## set up .venv and run the first example
	$(BIN)/goflow run examples/myflow.py --data hallo

test: lint ## set up .venv and run every check
	@$(MAKE) --no-print-directory -j3 types site unit

format: .venv/ready ## rewrite the sources in the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/ready
	$(BIN)/mypy

unit: .venv/ready
	$(BIN)/python -m pytest -n $(TESTS) --dist worksteal

site: .venv/ready ## build the documentation site into site/
	$(BIN)/python -m sphinx -q -W --keep-going -c docs -b html . site

dist: .venv/ready ## build wheel and sdist, and run each in a clean environment of its own
	rm -rf dist
	$(BIN)/python -m hatchling build
	for made in dist/*; do \
	    rm -rf dist/clean && $(PYTHON) -m venv dist/clean && \
	    dist/clean/bin/pip install --quiet --disable-pip-version-check $$made && \
	    (cd dist/clean && bin/goflow --version && bin/goflow init here && \
	     bin/goflow run here/flow.py --data hallo --ephemeral) || exit 1; \
	done; rm -rf dist/clean

bench: .venv/ready ## measure the figures in docs/performance.md again (PEERS=goflow,bullmq: those; PEERS=none)
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.field $(if $(PEERS),--peers $(PEERS))

chaos: .venv/ready ## kill real processes for a long while (GOFLOW_CHAOS_SECONDS=1800)
	$(BIN)/python -m pytest -m chaos $(CHAOS) --timeout 0

fuzz: .venv/ready ## fuzz every decoder, guided by coverage (SECONDS_EACH=30)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS_EACH),30)

clean: ## remove what the other targets made
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis dist site
