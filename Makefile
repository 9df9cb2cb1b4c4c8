# Every target sets up a virtual environment in .venv first, with the tested versions.
# All paths are relative, since make cannot handle a blank in the path of the checkout.

PYTHON ?= python3
IN_VENV := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-all check reference install qgis-plugin clean

help:
	@echo 'make demo         run every tool on synthetic scenes; see demo-output/'
	@echo 'make test         run the fast tests on all cores'
	@echo 'make test-slow    run the slow tests'
	@echo 'make test-all     run all tests'
	@echo 'make check        check lint, format and types'
	@echo 'make reference    write docs/cli.md and docs/api.md'
	@echo 'make install      set up .venv'
	@echo 'make qgis-plugin  build dist/geoseg_qgis.zip, a plugin for QGIS'
	@echo 'make clean        remove .venv, demo-output and caches'

demo: .venv/installed
	$(IN_VENV) -m geoseg demo demo-output --overwrite

# worksteal: the slowest tests do not all end up on one core
IN_PARALLEL := -n auto --dist worksteal

test: .venv/installed
	$(IN_VENV) -m pytest $(IN_PARALLEL) -m 'not slow'

test-slow: .venv/installed
	$(IN_VENV) -m pytest $(IN_PARALLEL) -m slow

test-all: .venv/installed
	$(IN_VENV) -m pytest $(IN_PARALLEL)

check: .venv/installed
	$(IN_VENV) -m ruff check
	$(IN_VENV) -m ruff format --check
	$(IN_VENV) -m mypy

reference: .venv/installed
	$(IN_VENV) -m docs.reference

install: .venv/installed

qgis-plugin: .venv/installed
	$(IN_VENV) qgis_plugin/build.py dist

# written last, so that an interrupted installation is repeated
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'geoseg requires Python 3.11 or newer. Run: make PYTHON=python3.11 ...' >&2; exit 1; }
	@$(IN_VENV) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || \
	    { echo 'cannot create a virtual environment. On Debian and Ubuntu, run: apt install python3-venv' >&2; exit 1; }
	$(IN_VENV) -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
