# The only commands that a person needs. They need Python 3.10 or newer, and nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
SPHINX = $(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs docs/_build

.DEFAULT_GOAL := help
.PHONY: help demo demo-serve test matrix cms-suite coverage-table soak bench lint docs format build clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/installed ## A real site with 4 workers: an editor's changes, seen by all of them
	@$(BIN)/python -m tests.demo run $(ARGS)

demo-serve: $(VENV)/installed ## The same site, to try by hand
	@$(BIN)/python -m tests.demo serve $(ARGS)

test: $(VENV)/installed ## All tests that can run on this machine (ARGS="-k name" for some)
	$(BIN)/python -m pytest $(ARGS)

matrix: $(VENV)/installed ## The tests on each supported version of everything (ARGS="--only NAME")
	@$(BIN)/python -m tests.matrix $(ARGS)

cms-suite: $(VENV)/installed ## django CMS's own tests, without this package and with it
	@$(BIN)/python -m tests.cms_suite $(ARGS)

coverage-table: $(VENV)/installed ## Every way that URLs change: who follows, django CMS or this
	@$(BIN)/python -m tests.e2e.coverage_table $(ARGS)

soak: $(VENV)/installed ## Ten minutes of changes, faults and load (ARGS="--seconds 60" for less)
	@$(BIN)/python -m tests.soak $(ARGS)

bench: $(VENV)/installed ## Ten minutes: the speed, beside every rival (ARGS="--only NAME" for some)
	@$(BIN)/python -m tests.bench $(ARGS)

lint: $(VENV)/installed ## Style, types, and docs that build without a warning
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	$(SPHINX)

docs: $(VENV)/installed ## The documentation, into docs/_build
	$(SPHINX)
	@echo 'Open docs/_build/index.html'

format: $(VENV)/installed ## Put the source into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(VENV)/installed ## The source archive and the wheel, into dist/
	$(BIN)/python -m build

clean: ## Remove what these commands made
	rm -rf $(VENV) .matrix dist docs/_build .mypy_cache .pytest_cache .ruff_cache

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo 'Python 3.10 or newer is needed: make PYTHON=python3.12 ...'; exit 1; }
	@echo 'Making a virtual environment in $(VENV) (once; a minute or two) ...'
	@$(PYTHON) -m venv $(VENV) || \
	  { echo 'python -m venv failed. On Debian and Ubuntu: apt install python3-venv'; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
