# Every command that the README names. Options of `install`: VENV=path, PYTHON=python3.x, TORCH_INDEX=url (kept for later runs).
VENV ?= .venv
TASK ?= detection
JOBS ?= 2
# 3.11 comes first because it is the version most tried.
PYTHON ?= $(firstword $(shell for p in python3.11 python3.12 python3.10 python3.13 python3.14 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null && echo $$p && break; done) \
	no-python3.10-to-3.14-on-the-PATH)
-include $(VENV)/index.mk

BIN := $(VENV)/bin
SET := requirements/constraints.txt
WEB := requirements/constraints_web.txt
# Python only, and no wheels of them: the build takes seconds and no compiler.
SOURCE := onedl-mmdetection,onedl-mmpretrain,onedl-mmsegmentation
PIP := $(if $(shell command -v uv),uv pip install --python $(BIN)/python,\
	$(BIN)/python -m pip install --disable-pip-version-check)
# Made last, one for each build of torch, so that an interrupted install continues and a finished one is left alone.
STAMP := $(VENV)/installed$(subst /,-,$(TORCH_INDEX:https:%=%))

.PHONY: install web demo test test-fast lint bench docs

install: $(STAMP)

$(STAMP): $(wildcard requirements/*.txt) setup.cfg setup.py pyproject.toml
	@echo "$(VENV), $(PYTHON): usually 3 minutes, of which torch is most"
	$(PYTHON) -m venv $(VENV)
	$(PIP) --quiet --constraint $(SET) setuptools wheel
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX) $(if $(wildcard $@),,--force-reinstall),--constraint $(SET)) \
		$(shell sed -n '/^torch/p' $(SET))
	$(PIP) --quiet --no-deps --no-build-isolation --only-binary :all: --no-binary $(SOURCE) --requirement $(SET)
	$(PIP) --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m swinv2_dense.doctor all test
	@rm -f $(VENV)/installed*
	@echo 'TORCH_INDEX ?= $(TORCH_INDEX)' > $(VENV)/index.mk
	@touch $@

web: install
	$(PIP) --quiet --no-deps --only-binary :all: --requirement $(WEB)

demo: install
	$(BIN)/python tools/demo.py --task $(TASK)

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) $(ARGS)

test-fast: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) -m "not slow" $(ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	$(BIN)/python tools/benchmark.py $(BENCH)

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
