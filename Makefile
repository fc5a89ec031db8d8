# Weir's one list of commands: people, `.ci/run` and GitHub Actions call exactly these. `make` alone prints it.
.DEFAULT_GOAL := help
.SUFFIXES:
SHELL := /bin/sh

VENV   := .venv
BIN    := $(VENV)/bin
# The first interpreter that is new enough; override with `make PYTHON=/path/to/python`.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
# uv ends at once where it cannot write its cache, as in a home that can only be read.
CACHE   = $(shell cache="$${UV_CACHE_DIR:-$${XDG_CACHE_HOME:-$$HOME/.cache}/uv}"; \
	mkdir -p "$$cache" 2>/dev/null && test -w "$$cache" || echo --no-cache)
UV      = $(BIN)/uv pip install $(CACHE) --quiet --compile-bytecode --python $(BIN)/python
LOCK    = $(BIN)/uv pip compile $(CACHE) --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock"
PYTEST_ARGS ?=
TORTURE_ARGS ?=
BENCH_ARGS ?=
SOAK_ARGS ?=
PROFILE_ARGS ?=

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(VENV)/.runtime ## Start Weir on http://127.0.0.1:8000 (PostgreSQL and Valkey included)
	@$(BIN)/weir serve

.PHONY: test
test: $(VENV)/.dev $(VENV)/.openai2 ## Run every test that needs nothing but Python, with coverage
	@$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --cov --cov-report=term $(PYTEST_ARGS)

.PHONY: coverage
coverage: ## The same, slower, with coverage that misses nothing of what runs between SQLAlchemy's awaits
	@COVERAGE_CONCURRENCY=greenlet $(MAKE) test

.PHONY: test-all
test-all: $(VENV)/.dev $(VENV)/.frameworks ## Install all that some tests use (Debian's parts as root), then run all tests
	@tests/install-parts
	@$(MAKE) test

.PHONY: lint
lint: $(VENV)/.dev ## Check style and formatting
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

.PHONY: types
types: $(VENV)/.dev ## Check types (mypy --strict)
	@$(BIN)/mypy

.PHONY: audit
audit: $(VENV)/.dev ## Look for known weaknesses in the code (bandit) and in its libraries (pip-audit)
	@$(BIN)/python -m bandit --quiet --configfile pyproject.toml --recursive app
	@$(BIN)/python -m pip_audit --disable-pip --requirement requirements/runtime.lock

.PHONY: format
format: $(VENV)/.dev ## Format the code and fix what can be fixed
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

.PHONY: bench
bench: $(VENV)/.dev ## Measure what a call costs beside others, under ten minutes, into docs/performance.md (ROWS=10000000)
	@$(BIN)/python -m tests.load $(if $(ROWS),--rows $(ROWS)) $(BENCH_ARGS)

.PHONY: soak
soak: $(VENV)/.dev ## Load it steadily for 15 minutes (MINUTES=5, SECONDS=60) and look at what grows
	@$(BIN)/python -m tests.load.soak --seconds $(or $(SECONDS),$(shell expr 60 '*' $(or $(MINUTES),15))) $(SOAK_ARGS)

.PHONY: profile
profile: $(VENV)/.dev ## Draw a flame graph of the hot path (PROFILE_ARGS="--stream --seconds 20")
	@$(BIN)/python -m tests.load.flames $(PROFILE_ARGS)

.PHONY: torture
torture: $(VENV)/.dev ## Kill everything for ten minutes and audit the books (TORTURE_ARGS="--seed 7 --seconds 60")
	@$(BIN)/python -m tests.torture --write $(TORTURE_ARGS)

.PHONY: migrate
migrate: $(VENV)/.runtime ## Bring the configured database's schema up to date
	@$(BIN)/weir migrate

.PHONY: docs
docs: $(VENV)/.dev ## Write the generated reference pages in docs/reference
	@$(BIN)/python -m scripts.generate_docs

.PHONY: prices
prices: $(VENV)/.dev ## Write app/prices/prices.json anew from its sources
	@$(BIN)/python -m scripts.generate_prices

.PHONY: lock
lock: $(VENV)/.installer ## Pin and hash the newest versions that fit into requirements/*.lock
	@$(LOCK) requirements/installer.in -o requirements/installer.lock
	@$(LOCK) pyproject.toml -o requirements/runtime.lock
	@$(LOCK) requirements/dev.in pyproject.toml -o requirements/dev.lock
	@$(LOCK) requirements/openai2.in -o requirements/openai2.lock
	@$(LOCK) requirements/frameworks.in -o requirements/frameworks.lock

.PHONY: clean
clean: ## Remove the virtual environment and the caches (never .weir, which holds data)
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .coverage *.egg-info build

# The environment is made from the lock files and again only when one of them changed.
$(VENV)/.installer: requirements/installer.lock
	@test -n "$(PYTHON)" || { echo "Weir needs Python 3.11 or newer; none was found on PATH." >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv module is incomplete: on Debian and Ubuntu," \
		"'apt install python3-venv' adds it." >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/installer.lock
	@touch $@

$(VENV)/.runtime: requirements/runtime.lock pyproject.toml $(VENV)/.installer
	@echo "Installing Weir's dependencies ..."
	@$(UV) --require-hashes -r requirements/runtime.lock
	@printf '%s\n' "$(CURDIR)" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/weir.pth"
	@printf '#!/bin/sh\nexec "%s" -m app "$$@"\n' "$(CURDIR)/$(BIN)/python" > $(BIN)/weir && chmod +x $(BIN)/weir
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.runtime
	@echo "Installing what the tests and linters need ..."
	@$(UV) --require-hashes -r requirements/dev.lock
	@touch $@

# Beside the newest openai, not instead of it: a program of the tests puts this directory on its PYTHONPATH.
$(VENV)/.openai2: requirements/openai2.lock $(VENV)/.runtime
	@rm -rf $@
	@$(UV) --target $@ --require-hashes -r requirements/openai2.lock
	@touch $@

# The same for LangChain and the others, whose versions of what they need are not Weir's.
$(VENV)/.frameworks: requirements/frameworks.lock $(VENV)/.runtime
	@echo "Installing the frameworks that some tests use ..."
	@rm -rf $@
	@$(UV) --target $@ --require-hashes -r requirements/frameworks.lock
	@touch $@
