# Every command sets up its own environment first: Python 3.11 or newer and make are all it takes.
#   make TORCH=cuda ...   allow PyTorch's CUDA build (several GB) on a machine where no GPU was found
#   make TORCH=cpu ...    the CPU build, even beside a GPU
#   make VENV=DIR ...     another folder for the environment

PYTHON ?= python3
VENV ?= .venv
TORCH ?= auto
PYTEST ?=
BENCHMARK ?=

BIN := $(VENV)/bin

# A thread that waits must not spin: on shared cores that costs up to a hundredfold.
export OMP_WAIT_POLICY ?= passive

.DEFAULT_GOAL := help
.PHONY: help setup demo zero seeds test test-slow coverage check format benchmark clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | while IFS='	' read -r name text; do printf 'make %-10s %s\n' "$$name" "$$text"; done

setup:  ## the environment in .venv; done by every other command
	@$(PYTHON) scripts/bootstrap.py --venv "$(VENV)" --torch "$(TORCH)"

demo: setup  ## the whole of DeepSeek-R1 in miniature on this machine, then the report
	$(BIN)/dianoia demo

zero: setup  ## R1-Zero alone in miniature, in a few minutes, then the report
	$(BIN)/dianoia demo --quick

seeds: setup  ## the demo over three seeds, then the claims and R1-Zero's curves over all of them
	$(BIN)/dianoia run recipes/miniature-r1.toml --seeds 1,2,3 --jobs 0
	$(BIN)/dianoia report runs/miniature-r1/seed-*

# The tests' models are tiny: one thread per process is faster than two, and one process per core keeps all busy.
# Tests start many interpreters: without compiled files each of them would compile the package again.
test: setup  ## the tests, on all cores; PYTEST="-k name" passes options on, PYTEST="-n 0" runs them in one process
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal $(PYTEST)

test-slow: setup  ## the tests that take longer
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow and not gpu and not vllm" $(PYTEST)

coverage: setup  ## lines and branches that the tests run
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=term $(PYTEST)

check: setup  ## format, lint, types, import contracts, spelling, generated pages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell
	$(BIN)/python scripts/reference.py --check

format: setup  ## format the code, fix what lint can fix, write the generated pages
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python scripts/reference.py

benchmark: setup  ## speed and memory beside TRL, transformers and the machine; BENCHMARK="--runs 5 --only grpo_step" passes options on
	$(BIN)/python -m benchmarks.table $(BENCHMARK)

clean:  ## remove the environment and the caches; runs/ stays
	[ ! -f "$(VENV)/pyvenv.cfg" ] || rm -rf "$(VENV)"
	[ ! -f .venv-peers/pyvenv.cfg ] || rm -rf .venv-peers
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
