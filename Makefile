# What people run. `make` alone lists it. Everything happens in .venv, which is made on demand and kept in step with requirements.lock,
# and with requirements-dev.lock once tests or linters were run.

.DEFAULT_GOAL := help
.PHONY: help demo test soak lint format lock lab up down clean install dev

# the Python that makes .venv; else the one that made it, python3, or python3.13, 3.12, 3.11
PYTHON ?=
# words for pytest or jupyter: make test ARGS="-k scd2"
ARGS ?=
# --dev, where it is wanted
WITH :=

BIN := .venv/bin
# a file's tests stay together, as its services do; the long files come first
PYTEST := $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder
# bytecode makes every start faster; images that forbid it mean their own layers
unexport PYTHONDONTWRITEBYTECODE
export PLOOMBER_STATS_ENABLED := false

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

demo: install ## live through 37 days of a shop and show its reports; about four minutes
	@$(BIN)/rainbow demo $(ARGS)

test: dev ## all tests, on real services
	@$(PYTEST) $(ARGS)

soak: dev ## the same tests with larger numbers, and the long ones
	@$(PYTEST) --soak $(ARGS)

lint: dev ## ruff, mypy, sqlfluff and nbstripout: say what is wrong, change nothing
	@$(BIN)/python tools/lint.py

format: dev ## put the layout of code, notebooks and SQL right
	@$(BIN)/python tools/lint.py --fix

lab: install ## open JupyterLab with the notebook notebooks/start.ipynb
	@JUPYTER_CONFIG_PATH=$(CURDIR)/.jupyter $(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

up: install ## start the local services
	@$(BIN)/rainbow up $(ARGS)

down: install ## stop the local services; their data stay
	@$(BIN)/rainbow down $(ARGS)

lock: install ## take new versions into the locks, within pyproject.toml's bounds
	@$(BIN)/python tools/lock.py $(ARGS)

clean: ## remove caches; .venv, data and reports stay
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .venv.discarded dbt/target dbt/logs
	@find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

install: ## make .venv, or bring it to the state of requirements.lock
	@for python in "$(PYTHON)" .venv/bin/python python3 python3.13 python3.12 python3.11; do \
		if [ -n "$$python" ] && "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
			exec "$$python" tools/install.py $(WITH); \
		elif [ -n "$$python" ] && [ "$$python" = "$(PYTHON)" ]; then \
			echo "$$python is not Python 3.11, 3.12 or 3.13: choose one of these, e.g. make PYTHON=python3.12 demo" >&2; exit 1; \
		fi; \
	done; \
	echo "no Python 3.11, 3.12 or 3.13 here ($$(python3 -V 2>&1 | head -n 1)): install one, then choose it, e.g. make PYTHON=/path/to/python3.12 demo" >&2; exit 1

dev: ## the same with what tests and linters need
	@$(MAKE) --no-print-directory install WITH=--dev
