# Needs Python 3.11 or newer, make and a C++ compiler. Everything else comes as wheels into .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
JOBS ?= auto
BOARD ?= icebreaker

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
DEMO := build/demo
PACKAGES := golden hw sim constraints # the parts of popflip that lie beside its folder

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bitstream proof bench clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(VENV)/ready ## train digits on the simulated chip, every batch checked against the golden model
	@mkdir -p $(DEMO)
	$(BIN)/popflip train --preset digits --device sim --verify \
	  --report $(DEMO)/report.json --plot $(DEMO)/plot.png --save $(DEMO)/digits.npz

test: $(VENV)/ready-dev ## all tests
	$(BIN)/python -m pytest -n $(JOBS)

lint: $(VENV)/ready-dev ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@rm -rf build/types && mkdir -p build/types/popflip
	@for part in popflip/* $(PACKAGES); do ln -s ../../../$$part build/types/popflip/; done
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../mypy -p popflip

format: $(VENV)/ready-dev ## put code into the project's style
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bitstream: $(VENV)/ready-dev ## a bitstream: make bitstream BOARD=icebreaker
	$(BIN)/popflip build --board $(BOARD)

proof: $(VENV)/ready-dev ## the formal proofs
	$(BIN)/python -m pytest -n $(JOBS) -m proof

bench: $(VENV)/ready-dev ## measure again what bench/ holds
	@for script in bench/*.py; do echo "$$script"; $(BIN)/python $$script || exit 1; done

clean: ## remove what was built; .venv and caches of tools stay
	rm -rf build sim_build .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(or $(PYTHON),python3) is not Python 3.11 or newer; say which is: make PYTHON=…" >&2; exit 1; }
	@echo "setting up $(VENV) (once; a minute or two)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/ready: pyproject.toml | $(BIN)/python
	@$(PIP) -e .
	@touch $@

$(VENV)/ready-dev: pyproject.toml | $(BIN)/python
	@echo "installing the tools for tests, lint, proofs and bitstreams into $(VENV) (once)"
	@$(PIP) -e '.[build,proof,test,lint]'
	@touch $@ $(VENV)/ready
