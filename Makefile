# `make run` and `make test` do all the set-up they need; README.md says what the others are for.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
export PYTHONPATH := $(CURDIR):$(CURDIR)/layers/common/python

# The template's Python, for `sam build`: found on the PATH or with pyenv; a shim that can't run does not count.
PYTHON313 ?= $(shell for python in "$$(command -v python3.13)" "$$(pyenv root 2>/dev/null)"/versions/3.13*/bin/python3.13; \
	do "$$python" -c '' 2>/dev/null && echo "$$python"; done | tail -n 1)
# This machine's processor, so that what is built runs here; a deploy builds what the template says.
ARCHITECTURE := $(if $(filter arm64 aarch64,$(shell uname -m)),arm64,x86_64)
SAM := SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 .venv-sam/bin/sam

.PHONY: run order test bench chaos simulate formal lint validate build artifact sam-local sam-stack lock clean

run: $(READY)
	@exec $(BIN)/python -m local

# make order TOKENS="SOL USDC 1.5"
TOKENS ?= SOL USDC 1
order: $(READY)
	@$(BIN)/python -m local order $(TOKENS)

test: $(READY)
	@$(BIN)/python -m pytest

# Measures throughput and latencies on this machine; takes about a minute and a half, and wants the machine for itself.
bench: $(READY)
	@$(BIN)/python tests/load/bench.py

# Faults on the real local stack, judged by an independent checker; make chaos ARGS="--seconds 400 --seed 3"
chaos: $(READY)
	@$(BIN)/python tests/chaos/campaign.py $(ARGS)

# Whole lives of many orders on a virtual clock; make simulate ARGS="--seconds 60", or SEED=123 to replay one.
simulate: $(READY)
	@$(BIN)/python tests/simulation/simulate.py $(ARGS)

# The Promela models, exhaustively; needs spin and a C compiler, which CI installs where it is root.
formal:
	@formal/check

lint: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

# What can be said about the template without an account: SAM, CloudFormation, serverless and security rules.
validate: .venv-sam/ready .venv-checkov/ready
	@$(SAM) validate --lint
	@.venv-sam/bin/cfn-lint template.yaml --append-rules cfn_lint_serverless.rules
	@.venv-checkov/bin/checkov --file template.yaml --framework cloudformation --skip-download --compact --quiet

# `sam build` for this machine, into .aws-sam/build.
build: .venv-sam/ready
	@test -n "$(PYTHON313)" || { echo "sam build needs Python 3.13, the template's, and there is none here"; exit 1; }
	@rm -rf .aws-sam/build
	@PATH="$(dir $(PYTHON313)):$$PATH" $(SAM) build --parameter-overrides Architecture=$(ARCHITECTURE) 2>&1 | \
		{ grep -E "^(Build Succeeded|Build Failed|Error)" || true; }
	@test -d .aws-sam/build/EngineLayer/python/order_engine

# Runs every handler from nothing but what was built, on the template's Python, and reports the sizes.
artifact: $(READY) .venv-sam/ready
	@if [ -z "$(PYTHON313)" ]; then echo "artifact: skipped, because there is no Python 3.13 here"; exit 0; fi; \
		$(MAKE) --no-print-directory build && \
		ARTIFACT=.aws-sam/build TEMPLATE_PYTHON="$(PYTHON313)" $(BIN)/python -m pytest tests/template/test_artifact.py

# Where no engine answers, but something beside the project can start one.
ENGINE := docker info >/dev/null 2>&1 || { test ! -x ../shared/lambda-runtime/up || eval "$$(../shared/lambda-runtime/up)"; }

# Every event of events/ through `sam local` in containers, on the local stack; takes some minutes.
sam-local: $(READY) .venv-sam/ready
	@$(ENGINE); \
		if ! docker info >/dev/null 2>&1; then echo "sam-local: skipped, because no Docker engine answers"; exit 0; fi; \
		if [ -z "$(PYTHON313)" ]; then echo "sam-local: skipped, because there is no Python 3.13 here"; exit 0; fi; \
		$(MAKE) --no-print-directory build && SAM=.venv-sam/bin/sam $(BIN)/python -m pytest -rP tests/sam_local

# The local stack for containers; prints a `sam local invoke` line for each event, to paste into another terminal.
sam-stack: $(READY) build
	@$(ENGINE); exec $(BIN)/python -m local sam

# The SAM CLI can't live in one environment with MiniStack: they pin different botocores. Nor can checkov with either.
.venv-sam/ready: Makefile
	@echo "Setting up .venv-sam (once; about a minute)"
	@$(PYTHON) -m venv .venv-sam
	@.venv-sam/bin/python -m pip install --quiet --disable-pip-version-check \
		aws-sam-cli==1.170.0 cfn-lint==1.58.0 cfn-lint-serverless==0.3.6
	@touch $@

.venv-checkov/ready: Makefile
	@echo "Setting up .venv-checkov (once; about a minute)"
	@$(PYTHON) -m venv .venv-checkov
	@.venv-checkov/bin/python -m pip install --quiet --disable-pip-version-check checkov==3.3.30
	@touch $@

# Written anew whenever a pin changes, in pyproject.toml or the layer's requirements.txt.
lock: $(READY)
	@CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --strip-extras --no-annotate --no-emit-index-url \
		--no-emit-find-links --no-emit-trusted-host --extra local --extra dev --output-file requirements.lock \
		pyproject.toml layers/common/python/requirements.txt

clean:
	rm -rf $(VENV) .venv-sam .venv-checkov .local .aws-sam .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version) if sys.version_info < (3, 11) else 0'
	@echo "Setting up $(VENV) (once; about half a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@touch $(READY)
