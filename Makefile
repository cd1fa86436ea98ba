# The project's verbs. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

# Where it makes no difference which codec is used: the stdlib's turn leaves these out.
NO_CODEC = testproject architecture typing browser dashboard $(addprefix worker/test_,$(addsuffix .py,$(PROCESSES)))
PROCESSES = absence spawner custody late_death listeners new_code reload supervisor

# What another Python or Django may change first, in a minute. `tox` runs everything on all of them.
NEWEST_TESTS = wire jobs history management fundamentals worker/test_worker.py dashboard/test_page.py dashboard/test_rights.py
NEWEST ?= $(lastword $(foreach minor,12 13 14,$(wildcard $(HOME)/.pyenv/versions/3.$(minor).*/bin/python /usr/bin/python3.$(minor) /usr/local/bin/python3.$(minor))))

# Most tests wait for something: two processes share them, each with servers of its own.
SHARED = -n 2 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup test newest crash lint types contracts migrations docs wheel bench bench-peers soak demo screenshots redis-stop clean ci

help: ## List these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-12s %s\n", $$1, $$2}'

$(STAMP): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $(STAMP)

setup: $(STAMP) ## Make .venv and install everything that development needs

test: setup ## Set up and pass the tests; they start their own servers (the pages' need chromium)
	DJANGO_SIDEKICK_JSON=stdlib $(BIN)/python -m pytest -q $(SHARED) tests $(addprefix --ignore tests/,$(NO_CODEC))
	$(BIN)/python -m pytest $(SHARED) $(ARGS)

newest: setup ## Pass what depends on Python and Django on the newest of both (NEWEST=/path/to/python)
	@if [ -z "$(NEWEST)" ]; then echo "NOT TESTED: the newest Django, for no Python after 3.11 was found."; else \
	$(BIN)/tox -q --discover "$(NEWEST)" -e $$("$(NEWEST)" -c 'import sys; print("py%d%d" % sys.version_info[:2])')-dj61 -- \
		-q $(SHARED) $(addprefix tests/,$(NEWEST_TESTS)) $(ARGS); fi

crash: setup ## Kill, cut and flood: the tests that need real time (about 4 minutes)
	$(BIN)/python -m pytest tests/crash $(ARGS)

lint: setup ## Check the code's form
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet django_sidekick

types: setup ## Check the types, strictly
	$(BIN)/mypy

contracts: setup ## Check who imports whom
	$(BIN)/lint-imports

migrations: setup ## Check that no model has changed without its migration
	DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python -m django makemigrations --check --dry-run django_sidekick

docs: setup ## Build the documentation; a warning is an error
	$(BIN)/sphinx-build -q -W -b html docs docs/_build/html

wheel: setup ## Build wheel and sdist, and install the wheel in a clean environment
	$(BIN)/python .ci/check_wheel.py

bench: setup ## Measure every bar against its floor, in alternating rounds (about 20 minutes)
	$(BIN)/python -m benchmarks.run $(ARGS)

bench-peers: setup ## Measure us beside the other job libraries (about an hour; BENCH_HARNESS names their harness)
	$(BIN)/python benchmarks/bench_peers.py $(ARGS)

soak: setup ## Run everything for ten minutes, killing now and then: nothing may grow
	$(BIN)/python benchmarks/soak.py $(ARGS)

demo: ## Set up and show the shop with its jobs running (ONCE=1: end by itself)
	$(PYTHON) testproject/demo.py

screenshots: setup ## Take the documentation's pictures of the demo's pages (needs chromium)
	$(BIN)/python -m testproject.screenshots

redis-stop: setup ## Stop the development Redis
	$(BIN)/python manage.py sidekick redis --stop

clean: ## Remove what the targets have made
	rm -rf $(VENV) build dist docs/_build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
