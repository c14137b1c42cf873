# Everything a developer does, from a machine with only Python 3.11 and make. `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# A stamp carries the hash of all that was installed from, so that nothing is done twice and a changed lock is noticed.
SUM = $(shell cat $(1) pyproject.toml .ci/bootstrap.lock | sha256sum | cut -c1-16)
RUNTIME_STAMP = $(VENV)/.runtime-$(call SUM,requirements.lock)
DEV_STAMP = $(VENV)/.dev-$(call SUM,requirements-dev.lock)
LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --quiet
# More than cores: tests wait for processes, sockets and databases more than they compute.
WORKERS ?= 4
TESTS := tests/unit tests/contract tests/api tests/examples tests/deploy
EXAMPLE := examples/research_brief/workflow.yaml

.PHONY: help up down test check lint types fuzz bench chaos chaos-long e2e lock docs clean

help: ## Show the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  \033[1m%-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(RUNTIME_STAMP) ## Start the platform, run the main example before your eyes, show the brief and the addresses
	@$(BIN)/agentic up --detach
	@$(BIN)/agentic run $(EXAMPLE) --watch --yes --show brief.md
	@echo
	@$(BIN)/agentic status
	@echo "stop it with: make down"

down: $(RUNTIME_STAMP) ## Drain the platform and stop it
	@$(BIN)/agentic down

test: $(DEV_STAMP) ## The fast tests: unit, contract, API, examples, Ray (about eight minutes on two cores)
	@$(BIN)/python -m pytest $(TESTS) -q -n $(WORKERS) -m "not long"
	@$(BIN)/python -m pytest tests/ray -q -s -m "not long"

check: lint types ## Lint, formatting, types and import rules

lint: $(DEV_STAMP) ## ruff, its formatter and import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: $(DEV_STAMP) ## mypy, strict
	@$(BIN)/mypy

fuzz: $(DEV_STAMP) ## A long run of schemathesis over the HTTP API
	@$(BIN)/python -m tests.api.fuzz
	@$(BIN)/python -m pytest tests/unit/engine/test_random.py --hypothesis-profile=long --timeout=0 -q

bench: $(DEV_STAMP) ## Measure the workloads W1-W8: budget, measured, verdict
	@$(BIN)/python -m bench

chaos: $(DEV_STAMP) ## A quarter of an hour of faults chosen at random, judged from outside: nothing may be lost
	@$(BIN)/python -m tests.chaos select --minutes 15

chaos-long: $(DEV_STAMP) ## Every fault up to its bar, in shards that go on where they stopped (a night and more)
	@$(BIN)/python -m tests.chaos long

e2e: $(DEV_STAMP) ## The whole platform from the outside, and in its container (needs root and Docker)
	@$(BIN)/python -m pytest $(TESTS) tests/ray -q -s -m long
	@$(BIN)/python -m pytest tests/e2e -q
	@deploy/docker/try.sh

lock: $(DEV_STAMP) ## Resolve the dependencies anew and write both lock files
	@$(BIN)/$(LOCK) --upgrade -o requirements.lock
	@$(BIN)/$(LOCK) --upgrade --group dev -c requirements.lock -o requirements-dev.lock

docs: $(DEV_STAMP) ## Write the generated documents
	@$(BIN)/python -m docs.generate

clean: ## Remove caches and the virtual environment; data in .agentic stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* htmlcov dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME_STAMP):
	@.ci/install requirements.lock $@

$(DEV_STAMP):
	@.ci/install requirements-dev.lock $@
