# Every command that the README names. Options of `install`: TORCH_INDEX=url, MMCV_FIND_LINKS=url-or-folder, VENV=path, PYTHON=python3.x
VENV ?= .venv
TASK ?= detection
JOBS ?= 2
# 3.11 comes first because it is the version most tried.
PYTHON ?= $(firstword $(shell for p in python3.11 python3.12 python3.10 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done) python3)
BIN := $(VENV)/bin
export TORCH_INDEX MMCV_FIND_LINKS

.PHONY: install demo test lint bench docs

install:
	@$(PYTHON) tools/install.py --venv "$(VENV)"

demo: install
	$(BIN)/python tools/demo.py --task $(TASK)

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) $(ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	$(BIN)/python tools/benchmark.py $(BENCH)

docs: install
	$(BIN)/mkdocs build
