# Needs Python 3.11 or newer, make and a C++ compiler. Everything else comes as wheels into .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
JOBS ?= auto
BOARD ?= icebreaker
TORCH ?= torch==2.13.0+cpu # only the CPU build has this version: pip never takes the gigabytes of the CUDA build for it

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
DEMO := build/demo
PAPER := mnist_hybrid.py nanogpt.py vit.py # the paper's experiments in examples/
SIZE ?= small # of these: small, or paper, which needs a GPU
PACKAGES := golden hw sim constraints # subpackages of popflip that lie beside its folder
SILICON := icebreaker.bin ice40_hx8k_b_evn.bin ulx3s_85f.bit
LEVELS := synthesis route bitstream
FITS := from popflip.constraints import boards; \
  print(*(f"{name}:{fit.preset}" for name, board in boards().items() for fit in board.fits))

.DEFAULT_GOAL := help
.PHONY: help demo test long torch qonnx lint format proof silicon mutate faults kills fuzz sdram bitstream bitstreams examples paper bench clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(VENV)/ready ## train digits on the simulated chip; the golden model checks every batch
	@mkdir -p $(DEMO)
	$(BIN)/popflip train --preset digits --device sim --verify \
	  --report $(DEMO)/report.json --plot $(DEMO)/plot.png --save $(DEMO)/digits.npz

# Tests of a file share builds: each worker gets whole files until one is idle and takes tests of another.
test: $(VENV)/ready-dev ## run the tests; proofs and the longest tests have targets of their own
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

long: $(VENV)/ready-dev ## run the longest tests: more chips and arrays, each built for one test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m long

torch: $(VENV)/ready-dev ## install PyTorch's CPU build, for the tests of popflip.torch
	$(PIP) '$(strip $(TORCH))'

qonnx: $(VENV)/ready-dev ## install QONNX's execution, for the tests of popflip.qonnx
	$(PIP) -e '.[qonnx]'

lint: $(VENV)/ready-dev ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@rm -rf build/types && mkdir -p build/types/popflip
	@for part in popflip/* $(PACKAGES); do ln -s ../../../$$part build/types/popflip/; done
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../mypy -p popflip

format: $(VENV)/ready-dev ## format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

proof: $(VENV)/ready-dev ## run the formal proofs
	$(BIN)/python -m pytest -n $(JOBS) -m proof

kills: $(VENV)/ready-dev ## kill and resume a run a hundred times; its end must be the same
	$(BIN)/python -m pytest -n 0 -m kills

mutate: $(VENV)/ready-dev ## plant faults in the sources and see which ones the tests catch
	$(BIN)/python tests/mutants/mutate.py

silicon: $(VENV)/ready-dev ## build a bitstream for each FPGA; see that it and the netlists before it learn
	@for file in $(SILICON); do \
	  test -d build/silicon/$${file%.*}-netlists || \
	    $(BIN)/popflip build --board $${file%.*} --output build/silicon --keep || exit 1; \
	  for level in $(LEVELS); do \
	    $(BIN)/popflip verify --bitstream build/silicon/$$file --level $$level || exit 1; \
	  done; \
	done
	$(BIN)/python -m pytest -n 0 -m silicon tests/popflip/test_silicon_faults.py

bitstream: $(VENV)/ready-dev ## build one bitstream into build/: make bitstream BOARD=icebreaker
	$(BIN)/popflip build --board $(BOARD)

bitstreams: $(VENV)/ready-dev ## build every network of every board, each into build/BOARD-PRESET/
	@fits=$$($(BIN)/python -c '$(FITS)') || exit 1; failed=; \
	for fit in $$fits; do \
	  board=$${fit%:*}; preset=$${fit#*:}; \
	  echo "$$board, $$preset"; \
	  $(BIN)/popflip build --board $$board --preset $$preset --output build/$$board-$$preset || failed="$$failed $$board-$$preset"; \
	done; \
	if [ -n "$$failed" ]; then echo "make: no bitstream:$$failed" >&2; exit 1; fi

examples: $(VENV)/ready ## run every script in examples/ but the paper's experiments
	@mkdir -p build/examples
	@cd build/examples && for script in $(filter-out _% $(PAPER),$(notdir $(wildcard examples/*.py))); do \
	  echo "$$script"; $(CURDIR)/$(BIN)/python $(CURDIR)/examples/$$script || exit 1; done

paper: $(VENV)/ready ## run the paper's experiments with PyTorch, results into build/paper/: make paper SIZE=paper
	@mkdir -p build/paper
	@cd build/paper && run() { \
	    echo "$$1"; name=$$1; shift; script=$$1; shift; \
	    $(CURDIR)/$(BIN)/python $(CURDIR)/examples/$$script --size $(SIZE) --report $$name.json --plot $$name.png "$$@"; \
	  } && \
	  run nanogpt nanogpt.py && \
	  run nanogpt-int8 nanogpt.py --votes int8 --mode hybrid1 hybrid2 && \
	  run mnist_hybrid mnist_hybrid.py && \
	  run vit vit.py && \
	  run vit-mnist vit.py --dataset mnist

faults: $(VENV)/ready-dev ## train over lines with faults of eight kinds, many times
	POPFLIP_FAULT_RUNS=100 $(BIN)/python -m pytest -n $(JOBS) tests/popflip/test_faults.py

fuzz: $(VENV)/ready-dev ## give each reader of files and frames 100,000 damaged inputs, and as many that coverage guides
	POPFLIP_FUZZ=100000 $(BIN)/python -m pytest -n $(JOBS) -m fuzz tests/popflip
	-@$(PIP) -e '.[fuzz]'
	POPFLIP_FUZZ=100000 $(BIN)/python tests/fuzz/guided.py

sdram: $(VENV)/ready-dev ## ten million random requests to the SDRAM controllers of all boards
	POPFLIP_SDRAM_REQUESTS=10000000 $(BIN)/python -m pytest -n $(JOBS) -rP tests/memory/test_sdram_requests.py

bench: $(VENV)/ready-dev ## run every benchmark in bench/
	@for script in bench/*.py; do echo "$$script"; $(BIN)/python $$script || exit 1; done

clean: ## remove build results; .venv and the caches stay
	rm -rf build sim_build .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(or $(PYTHON),python3) is not Python 3.11 or newer; name one that is: make PYTHON=…" >&2; exit 1; }
	@echo "setting up $(VENV) (once; a minute or two)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/ready: pyproject.toml | $(BIN)/python
	@$(PIP) -e .
	@touch $@

$(VENV)/ready-dev: pyproject.toml | $(BIN)/python
	@echo "installing the tools for tests, lint, proofs and bitstreams into $(VENV) (once)"
	@$(PIP) -e '.[build,proof,test,lint]'
	@touch $@ $(VENV)/ready
