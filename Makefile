# labelnoise: the commands for users. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

# What `make train` runs, unless ARGS sets another data set, loss or noise.
JOB = $(if $(filter dataset=%,$(ARGS)),,dataset=digits) $(if $(filter loss=%,$(ARGS)),,loss=nce_agce) \
  $(if $(filter noise=%,$(ARGS)),,noise=sym rate=0.4)

TABLES = $(filter-out none,$(basename $(notdir $(wildcard configs/table/*.yaml))))

.DEFAULT_GOAL := help
.PHONY: help install train test test-slow test-browser test-lowest table report audit bench docs check format

help:  ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 18

# The stamp is written last. An environment without it was interrupted during the install and is made again.
.venv/installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer with venv on PATH (set PYTHON=/path/to/python3)"; exit 1; }
	@test -f $@ || rm -rf .venv
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@rm -f $@
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

install: .venv/installed  ## create .venv and install everything into it

train: install  ## train on digits in seconds; make train ARGS="dataset=cifar10 loss=agce noise=asym rate=0.4"
	@$(BIN)/python train.py $(JOB) results=runs/first force=true $(ARGS)
	@$(if $(ARGS),,$(BIN)/python scripts/baseline.py $(JOB) results=runs/first force=true)

test: install  ## run the tests: about five minutes on two cores, no downloads
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-slow: install  ## run the tests that take minutes
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

test-browser: install  ## test the report and audit pages in Chromium (apt-get install chromium chromium-driver)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser tests/test_report_browser.py tests/test_audit_browser.py

test-lowest:  ## run the tests with the lowest version of every package that pyproject.toml allows
	@rm -rf .venv-lowest && $(PYTHON) -m venv .venv-lowest
	@$(PYTHON) -c 'import re, tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  names = p["dependencies"] + sum(p["optional-dependencies"].values(), []); \
	  print(*sorted({re.split("[,;]", n)[0].replace(">=", "==") for n in names if ">=" in n and "mypy" not in n}), sep="\n")' \
	  > .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-lowest/constraints.txt -e '.[dev]'
	@OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest

table: install  ## run the missing cells of a table and print it; make table TABLE=digits ARGS="table.seeds=[1]"
	@test -n "$(filter $(TABLE),$(TABLES))" || { echo "error: TABLE=$(TABLE): must be one of $(TABLES)" >&2; exit 1; }
	@code=0; $(BIN)/python train.py -m table=$(TABLE) $(ARGS) || code=$$?; test $$code -gt 1 || \
	  $(BIN)/labelnoise table table=$(TABLE) $(if $(FORMAT),format=$(FORMAT)) $(ARGS) || exit 1; exit $$code

report: install  ## write one HTML page over the committed records and runs/; make report ARGS="results=DIR out=FILE"
	@$(BIN)/labelnoise report $(ARGS)

audit: install  ## rank your own labels by how probably they are wrong; make audit DATA=PATH ARGS="folds=5"
	@test -n "$(DATA)" || { echo "error: DATA: needs a value, make audit DATA=PATH" >&2; exit 1; }
	@$(BIN)/labelnoise audit dataset=folder data_dir="$(DATA)" $(ARGS)

bench: install  ## compare training speed with the published code's; make bench ARGS="network=cnn4 dataset=mnist"
	@$(BIN)/labelnoise bench $(ARGS)

docs: install  ## write the tables of the documents: README.md, docs/, results/*.md
	@$(BIN)/labelnoise docs

check: install  ## run ruff and mypy, and check the imports between the packages
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache

format: install  ## let ruff fix and format the code
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .
