# `make help` lists what can be made. Everything installs into .venv and $(TRITON_TOOLKIT_HOME).
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed
JOBS := 2
# what test-quick leaves out: it starts servers, builds weights, images and wheels, waits, or runs a command per case
SLOW := attack docker docs/test_guides.py docs/test_readme.py e2e frontend/contract/test_two_gateways.py \
  frontend/telemetry/logs/test_sinks.py frontend/test_workers.py test_wheel.py \
  toolkit/building/test_quantization.py toolkit/chat toolkit/convert toolkit/quantize \
  toolkit/repository/test_targets.py toolkit/single toolkit/weights \
  $(addprefix toolkit/cli/test_,manners.py messages.py pull.py) \
  $(addprefix toolkit/serve/test_,background.py guard.py options.py relay.py)
# nor these, whose tests all need a server: to import their clients takes each worker three seconds
SLOW += $(patsubst tests/%,%,$(filter-out %/test_admin.py %/test_drain.py %/test_upstreams.py, \
  $(wildcard tests/frontend/contract/test_*.py)))
# pytest rewrites its plugins' modules; without their bytecode that takes each run seconds
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install serve build test test-quick fuzz test-clients check bench docs lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## create .venv with the pinned dependencies

$(STAMP): requirements/dev.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found"; \
	  echo "hint: install Python 3.11 with its venv module, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet pip==26.3
	$(PIP) install --progress-bar on -c <(sed -n 's/^\([a-z0-9].*==[^ ]*\).*/\1/p' $<) torch==2.13.0
	$(PIP) install --progress-bar on --no-deps --require-hashes -r $<
	@PYTHONWARNINGS=ignore $(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

serve: install ## build the default models and serve it on http://127.0.0.1:9000/v1
	@$(BIN)/toolkit build-repo
	@exec $(BIN)/toolkit serve --stop-with-parent

build: install ## build model_repository/ from models.yaml
	@$(BIN)/toolkit build-repo

test: install ## run every test, real Triton and real models included (JOBS=2)
	@$(BIN)/python -m pytest -n $(JOBS)

test-quick: install ## run the tests that start nothing and convert no weights, in two minutes
	@$(BIN)/python -m pytest -n $(JOBS) -m pure $(addprefix --ignore=tests/,$(SLOW))

fuzz: install ## look for new counterexamples with the property tests for SECONDS (600)
	@$(BIN)/python -m tests.fuzz $(or $(SECONDS),600)

test-clients: install ## run real client programs against the service, with a table; SLOW=1 for all
	@$(BIN)/python -m tests.clients $(if $(SLOW),--slow)

check: install ## lint, types, import rules, documentation drift
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/vulture
	@$(BIN)/shellcheck .ci/run requirements/lock.sh docker/entrypoint.sh docker/install-tools
	@$(BIN)/hadolint docker/*.Dockerfile
	@$(BIN)/python -m docs.generate --check
	@$(BIN)/python -m deploy.generate --check
	@$(BIN)/python -m docs.words

bench: install ## measure the path against its peers; results in benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks

docs: install ## write the generated reference pages again
	@$(BIN)/python -m docs.generate
	@$(BIN)/python -m deploy.generate

lock: install ## resolve every lock file again
	@requirements/lock.sh

clean: ## remove what was built here; the cache in ~/.cache/triton-toolkit stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	git clean -qfdX model_repository
