# Two commands: `make demo` and `make test`. Both set up what they need first.

VENV ?= .venv
PYTHON ?= python3
EXTRA ?= cpu
BIN := $(VENV)/bin
STAMP := $(VENV)/.forensics-setup

.PHONY: help setup demo corpus demo-world demo-world-install test test-slow lint example docs clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## make the virtual environment (VENV=DIR for another place); nothing to do when it is up to date

$(STAMP): pyproject.toml constraints.txt Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; give another one: make setup PYTHON=python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=23.2"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch torchvision
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRA),dev]'
	$(BIN)/forensics weights fetch sscd-int8 || \
	  echo "note: without SSCD the audit compares by hashes and geometry only; later: forensics weights fetch sscd-int8"
	@touch $@

demo: setup  ## generate, audit and grade in the embedded world; prints where the report lies
	$(BIN)/forensics demo --out reports/demo --seed 1

test: setup lint  ## lint, types, import rules and the tests
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

test-slow: setup  ## the tests that take minutes
	$(BIN)/python -m pytest -q -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

example: setup  ## rebuild reports/example, the committed run
	$(BIN)/forensics demo --out reports/example --seed 1

SHORT ?=
WORLD ?= models/kvadrat$(SHORT)
corpus: setup  ## draw index_data/demo anew: ROOTS="DIR DIR …" (where its packages' files lie)
	$(BIN)/python index_data/make_corpus.py $(foreach root,$(ROOTS),--root $(root))

demo-world-install: setup  ## make models/kvadrat the checkout's own model, and build its reference index
	mkdir -p index_data/kvadrat
	cp -r $(WORLD)/bpe.model $(WORLD)/vqgan $(WORLD)/transformer $(WORLD)/clip index_data/kvadrat/
	$(BIN)/python index_data/make_index.py

demo-world: setup  ## train the embedded world from its corpus, hours on 2 cores (SHORT=--short: a minute)
	$(BIN)/forensics train tokenizer --data index_data/demo --out $(WORLD) $(SHORT)
	$(BIN)/forensics train vqgan --data index_data/demo --out $(WORLD) $(SHORT)
	$(BIN)/forensics train transformer --data index_data/demo --out $(WORLD) $(SHORT)
	$(BIN)/forensics train clip --data index_data/demo --out $(WORLD) $(SHORT)

docs: setup  ## rebuild docs/cli.md from the program
	COLUMNS=100 $(BIN)/python -m typer forensics.cli.app utils docs --name forensics --title "Command line" --output docs/cli.md

clean:  ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
