# `make run` and `make test` do all the set-up they need; README.md says what the others are for.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
export PYTHONPATH := $(CURDIR):$(CURDIR)/layers/common/python

.PHONY: run order test bench lint validate lock clean

run: $(READY)
	@exec $(BIN)/python -m local

# make order TOKENS="SOL USDC 1.5"
order: $(READY)
	@$(BIN)/python -m local order $(TOKENS)

test: $(READY)
	@$(BIN)/python -m pytest

# Measures throughput and latencies on this machine; takes about a minute and a half, and wants the machine for itself.
bench: $(READY)
	@$(BIN)/python tests/load/bench.py

lint: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

# The SAM CLI can't live in one environment with MiniStack: they pin different botocores.
validate: .venv-sam/ready
	@SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 .venv-sam/bin/sam validate --lint

.venv-sam/ready: Makefile
	@echo "Setting up .venv-sam (once; about a minute)"
	@$(PYTHON) -m venv .venv-sam
	@.venv-sam/bin/python -m pip install --quiet --disable-pip-version-check aws-sam-cli==1.170.0
	@touch $@

# Written anew whenever a pin changes, in pyproject.toml or the layer's requirements.txt.
lock: $(READY)
	@CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --strip-extras --no-annotate --no-emit-index-url \
		--no-emit-find-links --no-emit-trusted-host --extra local --extra dev --output-file requirements.lock \
		pyproject.toml layers/common/python/requirements.txt

clean:
	rm -rf $(VENV) .venv-sam .local .aws-sam .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version) if sys.version_info < (3, 11) else 0'
	@echo "Setting up $(VENV) (once; about half a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@touch $(READY)
