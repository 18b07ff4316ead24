# Two commands for users:  make demo   make test      (Python 3.11-3.13 with venv, make and a shell are all they need)
#   make demo ARGS="--headless --seconds 40"   arguments for `pain-monitor demo`
#   make test PYTHON=python3.12                another Python          TORCH_INDEX=URL   another index for torch
#   make lint types imports unit exports live  the checks of `make test` one by one
#   make bundles                               train and export the shipped models anew (BUNDLES=NAME: only that one)
#   make bench                                 side-by-side measurements
#   make audit                                 known holes in what is installed (asks PyPI; no part of `make test`)
# Set-up is done once and again only when pyproject.toml changes. Exit status of the set-up: 3 where something of the
# system is missing that could not be installed (make prints it as "Error 3").

.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo test lint types imports unit exports live live-and-others bundles bench audit clean

PY := .venv/bin/python
ARGS ?=
BUNDLES ?= $(patsubst models/bundles/%.toml,%,$(wildcard models/bundles/*.toml)) se-cnn-regions painformer-eda-untrained
export PYTHON TORCH_INDEX

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile

setup:
	@sh scripts/setup.sh runtime

setup-test:
	@sh scripts/setup.sh test

demo: setup
	@$(PY) -m monitor.cli demo $(ARGS)

test: setup-test
	@$(MAKE) --no-print-directory --keep-going lint types imports live-and-others

lint: setup-test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: setup-test
	$(PY) -m mypy

imports: setup-test
	.venv/bin/lint-imports --no-logo

unit: setup-test
	$(PY) -m pytest -m "not live" -n 2 --dist loadfile --ignore=tests/export $(ARGS)

exports: setup-test
	$(PY) -m pytest -m "not live" tests/export $(ARGS)

# One after another: brokers, LSL streams and windows would disturb one another's timing.
live: setup-test
	$(PY) -m pytest -m live $(ARGS)

# Live tests mostly wait. Meanwhile the cores have minutes for all others, which give way to them and speak when they are done.
live-and-others: setup-test
	@log=$$(mktemp); nice -n 15 $(MAKE) --no-print-directory --keep-going unit exports >"$$log" 2>&1 & others=$$!; \
	$(MAKE) --no-print-directory live; status=$$?; \
	wait $$others || status=1; cat "$$log"; rm -f "$$log"; exit $$status

# A configuration is the whole recipe of a bundle; the two without one are no pain models.
bundles: setup-test
	@for name in $(BUNDLES); do \
	  if [ -f models/bundles/$$name.toml ]; then $(PY) -m models train models/bundles/$$name.toml || exit 1; continue; fi; \
	  made=build/bundles/$$name; \
	  $(PY) -m models.training --bundle $$name --out build/bundles && \
	  $(PY) -m export write --weights $$made/weights.pt --spec $$made/spec.json --card $$made/card.md \
	    --samples $$made/samples.npz --stored float16 --out monitor/bundles/$$name || exit 1; \
	done

bench: setup-test
	$(PY) -m benchmarks $(ARGS)

# Advisories are on the network, so that it can be no part of the tests. 1: known holes; 4: could not look.
audit: setup
	@$(PY) scripts/audit.py

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
