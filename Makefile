# Everything that a person or CI runs. `make help` lists it; nothing needs to be installed by hand beyond git, Python, Go and make.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLUSTER := $(BIN)/python -m walkforward_cluster
UV_VERSION := 0.13.9

.DEFAULT_GOAL := help
.PHONY: help setup lock lint types unit integration e2e test demo demo-down cluster-up cluster-down cluster-status images generate bench clean

help: ## list the commands
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.ready ## make the virtual environment from the locked requirements

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	@dev/setup.sh "$(PYTHON)" "$(VENV)" "$(UV_VERSION)"
	@touch $@

lock: setup ## lock the dependencies again
	PATH="$(BIN):$$PATH" requirements/compile.sh

generate: setup ## write CRDs, chart copies and reference pages from the typed models
	$(BIN)/python -m walkforward_operator.schema

lint: setup ## ruff, import-linter, drift of generated files
	$(BIN)/python dev/stages.py lint

types: setup ## mypy --strict
	$(BIN)/python dev/stages.py types

unit: setup ## unit and property tests, no cluster
	$(BIN)/python dev/stages.py unit

integration: setup ## tests against a real API server
	$(BIN)/python dev/stages.py integration

e2e: setup ## tests in real pods on the embedded cluster
	$(BIN)/python dev/stages.py e2e

test: setup ## everything: lint, types, unit, integration, end to end
	$(BIN)/python dev/stages.py test

demo: setup ## the whole story on a cluster of its own; ends with a verdict
	$(BIN)/python -m walkforward_demo up

demo-down: setup ## remove the demo and its cluster
	$(BIN)/python -m walkforward_demo down

cluster-up: setup ## start the local cluster
	$(CLUSTER) up

cluster-down: setup ## remove the local cluster, leave nothing behind
	$(CLUSTER) down

cluster-status: setup ## what runs
	$(CLUSTER) status

images: setup ## build the three images
	$(CLUSTER) images build

bench: setup ## our figures beside the peers', in one run
	$(BIN)/python dev/bench/run.py

clean: ## remove the virtual environment and caches of this checkout
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .work
