# One virtual environment, made from the hash-locked files; the stamps in it keep `make` from installing twice.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
BENCH_INSTALLED := $(VENV)/bench-installed
COMPILED := build/wheel/built
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

ARGS ?=
ROUNDS ?= 3
SECONDS ?= 5

.PHONY: help run demo test check format bench image wheel lock clean
.DEFAULT_GOAL := help

help: ## show this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | expand -t 10

run: $(INSTALLED) ## start the daemon: make run ARGS="--policies ./mine --listen 127.0.0.1:7600"
	@exec $(BIN)/sidecar run $(ARGS)

demo: $(INSTALLED) ## watch a provider fail and the application hardly notice, in under a minute: make demo ARGS=--plain
	@exec $(BIN)/sidecar demo $(ARGS)

test: $(INSTALLED) ## run the tests: make test ARGS="tests/rules -x"
	@exec $(BIN)/python -m pytest $(ARGS)

check: $(INSTALLED) ## what CI runs: lint, format, types, layers, tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 $(ARGS)

format: $(INSTALLED) ## rewrite the sources as `make check` wants them
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: $(BENCH_INSTALLED) $(COMPILED) ## compare with Envoy, nginx and aiohttp: make bench ROUNDS=3 SECONDS=5 ARGS=--quick
	@exec $(BIN)/python -m tests.bench --rounds $(ROUNDS) --seconds $(SECONDS) $(ARGS)

ENGINE ?= podman
image: ## build the image sidecar:dev: make image ENGINE=docker ARGS="--build-arg PYTHON=python:3.13-slim"
	$(ENGINE) build --network=host --tag sidecar:dev $(ARGS) .

wheel: $(COMPILED) ## build the compiled wheel into dist/ and test it (needs a C compiler)
	cp -r tests docs pyproject.toml $(dir $(COMPILED))
	cd $(dir $(COMPILED)) && $(abspath $(BIN))/python -m pytest -n 2 tests/http1 tests/intercept tests/rules tests/steps tests/wire

# The released form, with the modules of the call path compiled, unpacked in a tree of its own: here, the sources would be
# found first.
$(COMPILED): $(INSTALLED) hatch_build.py pyproject.toml $(shell find hot_path sidecar policies -name '*.py' -o -name '*.yaml')
	rm -rf dist build/mypyc build/wheel
	HATCH_BUILD_HOOK_ENABLE_CUSTOM=true $(BIN)/python -m pip wheel --quiet --no-build-isolation --no-deps -w dist .
	$(BIN)/python -m zipfile -e dist/*.whl $(dir $@)
	$(BIN)/python -m compileall -q $(dir $@)sidecar
	@touch $@

# The build backend is locked with the tools, so that installing the project itself fetches nothing unchecked.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links
lock: $(INSTALLED) ## resolve the lock files anew: make lock ARGS=--upgrade
	$(PIP) install uv
	$(COMPILE) $(ARGS) --all-extras pyproject.toml -o requirements.lock
	printf 'hatchling\neditables\n' | $(COMPILE) $(ARGS) --all-extras pyproject.toml - --group dev -c requirements.lock -o requirements-dev.lock
	printf 'hatchling\nmypy\nsetuptools\ntypes-pyyaml\n' | $(COMPILE) $(ARGS) - -c requirements-dev.lock -o requirements-build.lock
	$(COMPILE) $(ARGS) --group bench -o requirements-bench.lock
	$(COMPILE) $(ARGS) tests/clients/requirements.in -o tests/clients/requirements.lock
	$(COMPILE) $(ARGS) k8s/example/app/requirements.in -o k8s/example/app/requirements.lock

clean: ## remove everything that make has made
	rm -rf $(VENV) .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache bench-out build dist
	find sidecar tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@for python in python3 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo 'make: no Python 3.11 or newer among python3, python3.13, python3.12, python3.11: install one and run make again' >&2; \
	exit 1

$(INSTALLED): requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@# As an installed wheel would be: where Python may not write bytecode, each start would compile every file again.
	$(BIN)/python -m compileall -q sidecar
	@touch $@

$(BENCH_INSTALLED): requirements-bench.lock $(INSTALLED)
	$(PIP) install --require-hashes -r requirements-bench.lock
	@touch $@
