# Two commands do everything: `make serve` and `make test`. Both need Python 3.11+, venv and pip, nothing else.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help env serve test check format fuzz lock bench bench-quick soak

help:            ## what there is
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

env: $(STAMP)    ## make .venv; costs nothing the second time

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Glia needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing Glia into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

serve: env       ## the server with its page; fetches the starter network first
	@$(BIN)/glia fetch --starter
	@exec $(BIN)/glia serve

test: env        ## the tests
	$(BIN)/python -m pytest

check: env       ## format, lint, types, layers, size
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_size.py

format: env      ## let ruff rewrite
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: env        ## resolve the newest versions into requirements.lock
	$(BIN)/python tools/lock.py

fuzz: env        ## damaged networks to every importer, ten minutes a format (MINUTES=...)
	$(BIN)/python tools/fuzz.py --minutes $(or $(MINUTES),10)

bench: env       ## Glia, the machine's limit, the peers; about an hour on a quiet machine
	$(BIN)/python -m benchmarks.bench

bench-quick: env ## two minutes of it, not kept
	$(BIN)/python -m benchmarks.bench --quick

soak: env        ## half an hour of changing load; fails when memory grows or an answer fails
	$(BIN)/python -m benchmarks.soak
