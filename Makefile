# The verbs that people and CI share. Each sets up what it needs, in .venv, from the lock files.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
.DEFAULT_GOAL := help
# Files of tests run two at a time: their servers wait for disks and for one another half the time.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile
# A server without compiled modules takes seconds to start, and the tests start many.
INSTALL := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo serve check test test-all faults torture bench bench-peers lock clean format

help: ## Show the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## Start a server, train a small model, upload it live, print its dashboard (ARGS=--exit to stop by itself)
	@$(BIN)/python examples/demo/run.py $(ARGS)

serve: $(VENV)/.core ## Start a server on ./tensordeck-data
	@$(BIN)/tensordeck serve $(ARGS)

check: $(VENV)/.test ## Lint, types, layers, lock files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/.test ## Everything but what needs TensorFlow, PyTorch, a browser or minutes
	$(PYTEST) -m "not heavy and not torture" $(ARGS)

test-all: $(VENV)/.test-all ## All tests: the tutorial, real event files, Chromium, kill -9
	$(PYTEST) $(ARGS)

faults: $(VENV)/.test ## Faults and a soak in their short form: kill -9, failover, partitions, full disks (8 minutes)
	$(PYTEST) -m torture $(ARGS)

torture: $(VENV)/.test-all ## Faults and a soak in their long form (hours)
	TORTURE=long $(BIN)/python -m pytest -m torture $(ARGS)

bench: $(VENV)/.test-all ## The benchmarks, one after the other (several minutes)
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/board.py
	$(BIN)/python benchmarks/hparams.py
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/follow.py
	$(BIN)/python benchmarks/bytes_per_point.py
	$(BIN)/python benchmarks/experiments.py
	$(BIN)/python benchmarks/scale.py

bench-peers: $(VENV)/.test-all ## Tensordeck beside MLflow, trackio, Aim and TensorBoard: writes docs/benchmarks.md (half an hour)
	$(BIN)/python -m benchmarks.peers $(ARGS)

format: $(VENV)/.test ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(VENV)/bin/uv ## Write the lock files anew from pyproject.toml
	sh tools/lock.sh $(BIN)/uv

clean: ## Remove what the verbs made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist

$(VENV)/bin/uv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tensordeck needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet uv

$(VENV)/.core: $(VENV)/bin/uv requirements/core.txt pyproject.toml
	$(INSTALL) -r requirements/core.txt
	$(INSTALL) --no-deps --editable .
	@touch $@

$(VENV)/.demo: $(VENV)/.core requirements/demo.txt
	$(INSTALL) -r requirements/demo.txt
	@touch $@

$(VENV)/.test: $(VENV)/.core requirements/test.txt
	$(INSTALL) -r requirements/test.txt
	@touch $@

# PyTorch by pip, which finds a CPU build where an index or a folder of wheels offers one.
$(VENV)/.test-all: $(VENV)/.test requirements/test-all.txt
	$(BIN)/pip install --quiet torch==2.13.0
	$(INSTALL) -r requirements/test-all.txt
	sh tools/install_system_packages.sh
	@touch $@
