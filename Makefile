# Two commands do everything: `make demo` and `make test`. Both make .venv first when it is missing or out of date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
STAMP := $(VENV)/.installed
# TORCH=cuda takes PyTorch's CUDA build; anything else the smallest build that installs.
TORCH ?= cpu
TORCH_VERSION := 2.13.0
ARGS ?=
PYTEST_ARGS ?=
# Processes of `make test`: browsers and whole demos beside more than one other process would starve on two cores.
TEST_PROCESSES ?= 2

export FLWR_TELEMETRY_ENABLED := 0
# Where containers forbid compiled files, each of the many processes of a run would compile everything again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test soak lint format docs clean

help:  ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install: $(STAMP)  ## Make the environment in .venv, development tools included

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# PyTorch first and alone: a later resolver would otherwise take the registry's default, several GB of CUDA packages.
$(STAMP): $(VENV)/bin/python pyproject.toml constraints.txt Makefile
ifeq ($(TORCH),cuda)
	$(PIP) install torch==$(TORCH_VERSION)
else
	$(PIP) install "torch==$(TORCH_VERSION)+cpu" \
	  || { $(PIP) install -c constraints.txt uv && $(BIN)/uv pip install --python $(BIN)/python --torch-backend cpu torch==$(TORCH_VERSION); } \
	  || $(PIP) install torch==$(TORCH_VERSION)
endif
	$(PIP) install -c constraints.txt -e '.[aggregator,learning,simulation,dev]'
	touch $(STAMP)

demo: $(STAMP)  ## Run the main job end to end; ARGS="--once --seed 7 --report demo.json"
	@$(BIN)/hearthside demo $(ARGS)

test: $(STAMP)  ## Run every check: layers, lint, types, units, real services, a real browser
	$(BIN)/python -m pytest -m "not soak" -n $(TEST_PROCESSES) --dist loadgroup $(PYTEST_ARGS)

soak: $(STAMP)  ## Run the full counts (kills, interleavings, seeds): hours
	$(BIN)/python -m pytest -m soak $(PYTEST_ARGS)

lint: $(STAMP)  ## Layers, ruff and mypy alone
	$(BIN)/lint-imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## Let ruff lay out the code
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

docs: $(STAMP)  ## Write docs/reference.md from the code
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/studies.py
	$(BIN)/python docs/operations.py

clean:  ## Remove what the commands made
	rm -rf $(VENV) .peers dist build demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find aggregator client_agent consent models privacy simulations tests -name __pycache__ -prune -exec rm -rf {} +
