# make demo   sees and hears a flood        make test   checks everything
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARTS := libs/contracts libs/signals libs/runtime libs/store edge broker ingest alerts loudspeaker console dashboards firmware-sim keng
SOURCES := $(PARTS) tests

.DEFAULT_GOAL := help
.PHONY: help demo test oracle setup setup-test lint types format bench dashboards clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .setup-demo ## a flood at Quảng Thọ, seen and heard; arguments by DEMO="--until siren --json"
	@$(BIN)/keng demo $(DEMO)

test: .setup-test ## lint, types, architecture and all tests; arguments by TEST="-k outbox"
	@$(MAKE) --no-print-directory lint types
	@$(BIN)/pytest -n 3 --dist loadfile $(TEST) # most of a test's time is waiting for real processes

oracle: .setup-test ## quality control against ioos_qc, in an environment of its own (365 MB)
	@KENG_ORACLE=1 $(BIN)/pytest -q -m oracle

setup: .setup-demo ## .venv with all parts in it, and the Debian packages that they need

lint: .setup-test ## style, and the direction of imports
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/lint-imports

types: .setup-test ## mypy, strict
	@$(BIN)/mypy $(foreach part,$(PARTS),$(wildcard $(part)/keng*/))

format: .setup-test ## put the code into the house's form
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

bench: .setup-demo ## a measurement; which one by BENCH="path --json"
	@$(BIN)/keng bench $(BENCH)

dashboards: .setup-demo ## generate Grafana's dashboards anew from the sample commune
	@$(BIN)/keng dashboards generate --registry console/keng_console/sample/commune.toml --out dashboards

clean: ## forget the virtual environment and what tests left
	rm -rf $(VENV) .venv-oracle .setup-demo .setup-test artefacts .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The environment is made anew when what it is made from changes.
MADE_FROM := constraints.txt $(foreach part,$(PARTS),$(part)/pyproject.toml) keng/debian-packages.sh

.setup-demo: $(MADE_FROM)
	@sh keng/debian-packages.sh demo
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say which with PYTHON=…" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Python packages into $(VENV) …" >&2
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt hatchling editables
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation -c constraints.txt $(foreach part,$(PARTS),-e ./$(part))
	@touch $@

.setup-test: .setup-demo
	@sh keng/debian-packages.sh test
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation -c constraints.txt -e './keng[test]'
	@touch $@
