# `make` lists what there is to do.
VENV ?= .venv
BIN = $(VENV)/bin
PYTHON ?= /usr/bin/python3

.PHONY: help venv demo test lint types floors fast docs bench clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*##/\t/' | expand -t 12

venv: $(VENV)/.ready ## build .venv with the gateway and everything that its tests need

$(VENV)/.ready: setup.cfg setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test,lint,docs]'
	touch $@

demo: venv ## a gateway, a stand-in ERP, a partner and a token on free ports
	$(BIN)/entrepot demo $(DEMO)

test: venv lint types floors fast ## the fast tests and every check

lint: venv ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv ## mypy, strict
	$(BIN)/mypy

floors: venv ## imports go down only
	$(BIN)/lint-imports

fast: venv ## the fast tests; T=path picks some
	$(if $(T),,$(BIN)/pytest -q -m 'alone and not odoo and not postgres and not slow and not faults')
	$(BIN)/pytest -q -n 3 --dist loadfile -m 'not odoo and not postgres and not slow and not faults and not alone' $(T)

docs: venv ## the documentation, without a warning, into docs/_build
	$(BIN)/sphinx-build --fail-on-warning --keep-going -b html docs docs/_build/html
	$(BIN)/sphinx-build --fail-on-warning --keep-going -q -b man docs docs/_build/man

bench: venv ## figures against peers: see bench/README.rst
	$(BIN)/python bench/run.py $(BENCH)

clean: ## remove what the other targets made
	rm -rf $(VENV) .tox .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache docs/_build build dist src/*.egg-info
	find src tests bench docs -name __pycache__ -prune -exec rm -rf {} +
