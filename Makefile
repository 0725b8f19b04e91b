# `make` lists what there is to do.
VENV ?= .venv
BIN = $(VENV)/bin
PYTHON ?= /usr/bin/python3
COMPILE = --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url

REPORTS = build/reports
# Where `make publish` puts the packages: an apt repository of this machine, unless another is named.
REPOSITORY ?= build/repository
# Of which Debian releases packages are built and tested.
SUITES ?= bookworm trixie
# Where the hosts are that these are built and tested in.
HOSTS ?= /var/tmp/entrepot-hosts
# What a test of each kind is marked by, and what it is not marked by.
FAST = not odoo and not postgres and not slow and not faults and not host
MARKS_postgres = postgres and not slow and not faults
MARKS_slow = slow and not odoo
MARKS_faults = faults
MARKS_odoo = odoo and not faults
MARKS_host = host

# The fast tests run in three processes, without the plugins that none of them needs, and what they write is in memory
# where 2 GB of it are free: on a disk they wait for its syncs.
SPREAD = -n 3 --dist loadfile -p no:schemathesis -p no:anyio
fast tests: export PYTEST_DEBUG_TEMPROOT := $(shell df --output=avail,target --block-size=1G /dev/shm 2>/dev/null \
  | awk 'NR > 1 && $$1 >= 2 { print $$2 }')

.PHONY: help venv demo test lint types floors fast checks puppet jenkinsfile tests pythons postgres slow faults odoo host deb reproducible \
  requirements lintian piuparts autopkgtest sign publish release docs bench clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*##/\t/' | expand -t 14

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
	$(if $(T),,$(BIN)/pytest -q -m 'alone and $(FAST)')
	$(BIN)/pytest -q $(SPREAD) -m '$(FAST) and not alone' $(T)

checks: lint types floors puppet jenkinsfile ## every check that runs none of the gateway

puppet: venv ## the Puppet module: parser, lint, specs, reference; by Debian's packages
	$(BIN)/pytest -q tests/packaging/test_puppet_agreement.py tests/packaging/test_puppet_tools.py

jenkinsfile: venv ## the Jenkinsfile, by a stub of the grammar: Jenkins itself may find more
	$(BIN)/pytest -q tests/packaging/test_jenkinsfile.py

tests: venv ## the fast tests, with JUnit and coverage in build/reports
	$(BIN)/pytest -q -m 'alone and $(FAST)' --junitxml=$(REPORTS)/alone.xml
	$(BIN)/pytest -q $(SPREAD) -m '$(FAST) and not alone' --junitxml=$(REPORTS)/fast.xml \
	  --cov=entrepot --cov-report=xml:$(REPORTS)/coverage/coverage.xml --cov-report=term:skip-covered

pythons: ## the demonstration, the checks and the fast tests as anybody runs them, on the Python of each of SUITES
	for suite in $(SUITES); do .ci/host $$suite $(HOSTS)/pythons-$$suite || exit 1; done

# Hosts wait more than they work, so two are up at once.
SPREAD_host = -n 2 --dist loadfile

postgres slow faults odoo host: venv
	$(BIN)/pytest $(SPREAD_$@) -m '$(MARKS_$@)' --junitxml=$(REPORTS)/$@.xml

postgres: ## the store on a PostgreSQL server that the tests start
slow: ## reloads, kills and loads against running daemons; nginx, HAProxy, Prometheus, Puppet's tools
faults: ## kills, full disks and bad upstreams under load
odoo: ## against a real Odoo 14: the one that ODOO_URL names
host: ## the packages in fresh Debian hosts: install, reload, upgrade, downgrade, purge; Puppet

deb: ## the Debian packages of SUITES, each built in a clean host, into dist
	for suite in $(SUITES); do debian/build-in-host $$suite dist || exit 1; done

reproducible: ## build each package again under other circumstances: it must be the one in dist, bit for bit
	for suite in $(SUITES); do debian/reproducible $$suite || exit 1; done

requirements: ## pin what the packages hold: the newest that setup.cfg allows, with hashes
	$(PYTHON) -m venv .tox/requirements
	.tox/requirements/bin/pip install --quiet --disable-pip-version-check pip-tools
	CUSTOM_COMPILE_COMMAND="make requirements" .tox/requirements/bin/pip-compile --upgrade --quiet $(COMPILE) \
	  --extra systemd --output-file debian/requirements.txt setup.cfg debian/requirements.in
	CUSTOM_COMPILE_COMMAND="make requirements" .tox/requirements/bin/pip-compile --upgrade --quiet $(COMPILE) \
	  --output-file debian/requirements-build.txt debian/requirements-build.in

lintian: ## what Debian's policy says of the packages in dist
	lintian --fail-on error,warning --info dist/entrepot_*.deb

piuparts: ## install, remove and purge the packages in clean Debians: nothing may stay
	for suite in $(SUITES); do debian/piuparts $$suite || exit 1; done

autopkgtest: ## debian/tests on the packages, in booted hosts
	for suite in $(SUITES); do debian/autopkgtest $$suite || exit 1; done

sign: ## the checksums of the packages, signed by the key SIGN_WITH
	debian/sign dist

publish: ## the packages into the signed apt repository REPOSITORY, by reprepro
	debian/publish $(REPOSITORY) dist $(SUITES)

# One after the other, whatever -j says.
.NOTPARALLEL:
release: checks tests pythons postgres slow faults odoo deb reproducible lintian piuparts autopkgtest host sign publish docs ## all of it, in order

docs: venv ## the documentation, without a warning, into docs/_build
	$(BIN)/sphinx-build --fail-on-warning --keep-going -b html docs docs/_build/html
	$(BIN)/sphinx-build --fail-on-warning --keep-going -q -b man docs docs/_build/man

bench: venv ## figures against peers: see bench/README.rst
	$(BIN)/python bench/run.py $(BENCH)

clean: ## remove what the other targets made
	rm -rf $(VENV) .tox .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache docs/_build build dist src/*.egg-info
	find src tests bench docs -name __pycache__ -prune -exec rm -rf {} +
