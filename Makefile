# `make run` and `make test` do all the set-up they need; `make help` lists the others.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

# The template's Python, for `sam build`: found on the PATH or with pyenv; a shim that can't run does not count.
PYTHON313 ?= $(shell for python in "$$(command -v python3.13)" "$$(pyenv root 2>/dev/null)"/versions/3.13*/bin/python3.13; \
	do "$$python" -c '' 2>/dev/null && echo "$$python"; done | tail -n 1)
# This machine's processor, so that what is built runs here; a deploy builds what the template says.
ARCHITECTURE := $(if $(filter arm64 aarch64,$(shell uname -m)),arm64,x86_64)
WHEELS := .aws-sam/wheels-$(ARCHITECTURE)
TEMPLATES := template.yaml $(wildcard infrastructure/*.yaml)
# What is on AWS beside our own code, each with its hashes: of the engine's layer, and of the documentation's.
SHIPPED := layers/common/python/requirements.txt layers/docs/requirements.txt

# A deployed stack instead of the running one, where a command takes it.
ON_AWS := $(if $(STACK),--stack $(STACK))
SAM := SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 .venv-sam/bin/sam

.PHONY: help run stop status pause resume order watch cancel launch show rewrite-history psql keys invoke test contract bench bench-resting bench-history cost chaos simulate formal lint validate build artifact sam-local sam-stack lock clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1 \2/p' $(MAKEFILE_LIST) | while read -r target text; \
		do printf '  make %-15s %s\n' "$$target" "$$text"; done

run: $(READY) ## start the system on this machine; RELOAD=1: serves changed code; KEEP=1: keeps the order history
	@exec $(BIN)/python -m local

stop: $(READY) ## stop it, from wherever it was started
	@$(BIN)/python -m local stop

status: $(READY) ## what the system is at: orders, queues, owed rows, last errors; STACK=order-engine on AWS
	@$(BIN)/python -m local status $(ON_AWS)

pause: $(READY) ## halt the engine: orders are refused, workers and watcher rest, nothing is lost; STACK=... on AWS
	@$(BIN)/python -m local pause $(ON_AWS)

resume: $(READY) ## have a paused engine go on; STACK=... on AWS
	@$(BIN)/python -m local resume $(ON_AWS)

TOKENS ?= SOL USDC 1
order: $(READY) ## send an order and follow it; TOKENS="SOL USDC 1.5", "SOL USDC 1 orderType=limit limitPrice=151"
	@$(BIN)/python -m local order $(TOKENS)

watch: $(READY) ## show an order's statuses as they come; ORDER=<orderId>
	@$(BIN)/python -m local watch "$(ORDER)"

cancel: $(READY) ## cancel an order; ORDER=<orderId>
	@$(BIN)/python -m local cancel "$(ORDER)"

launch: $(READY) ## launch a token on the mock market; TOKEN=NOVA or ORBIT
	@$(BIN)/python -m local launch "$(TOKEN)"

show: $(READY) ## an order's whole story; ORDER=<orderId>; STACK=... on AWS
	@$(BIN)/python -m local show "$(ORDER)" $(ON_AWS)

rewrite-history: $(READY) ## write the outcomes since a time to PostgreSQL again; SINCE=2026-11-23T12:00:00Z; STACK=... on AWS
	@$(BIN)/python -m local rewrite-history "$(SINCE)" $(if $(AFTER),--after $(AFTER)) $(ON_AWS)

psql: $(READY) ## psql on the order history; ARGS="-c 'TABLE orders'"
	@$(BIN)/python -m local psql $(ARGS)

keys: $(READY) ## API keys; ARGS="create --owner acme --scopes trade,read", "list", "revoke KEY_ID"; --stack NAME on AWS
	@$(BIN)/python -m local keys $(ARGS)

FUNCTION ?= submit
EVENT ?= events/submit.json
invoke: $(READY) ## invoke a function in the foreground, for debuggers; FUNCTION=submit EVENT=events/submit.json
	@$(BIN)/python -m local invoke $(FUNCTION) $(EVENT)

test: $(READY) ## run every test; ARGS="tests/unit/test_routing.py -k floor" for some
	@$(BIN)/python -m pytest $(or $(ARGS),--numprocesses 2 --dist loadfile --no-loadscope-reorder)

contract: $(READY) .node/ready ## the specifications against the code, the running system, Postman and Node.js (2 minutes)
	@$(BIN)/python -m pytest tests/unit/test_specifications.py tests/unit/test_specified_*.py \
		tests/unit/test_postman_collection.py tests/e2e/test_specification_holds.py tests/e2e/test_clients_in_javascript.py

browser-tools: $(READY) ## Chromium for the tests of the page, where it is missing: installs it as root with CI=true
	@$(BIN)/python -m tests.support.browser

screenshot: $(READY) ## take docs/page.png anew: a stack of its own, some orders, the page in Chromium (a minute)
	@$(BIN)/python -m tests.support.screenshot

bench: $(READY) ## measure throughput and latencies (90 s; wants the machine for itself)
	@$(BIN)/python tests/load/bench.py

bench-resting: $(READY) ## measure what resting orders cost (6 minutes)
	@$(BIN)/python tests/load/resting.py

bench-history: $(READY) ## measure how a history of a million orders is read (6 minutes)
	@$(BIN)/python tests/load/history.py

cost: $(READY) ## write the calls that an order causes into docs/performance.md anew
	@REWRITE=1 $(BIN)/python -m pytest tests/integration/test_calls.py

chaos: $(READY) ## inject faults into the real stack, judged by a checker; ARGS="--seconds 400 --seed 3"
	@$(BIN)/python tests/chaos/campaign.py $(ARGS)

simulate: $(READY) ## whole lives of many orders on a virtual clock; ARGS="--seconds 60", SEED=123 replays one
	@$(BIN)/python tests/simulation/simulate.py $(ARGS)

formal: ## check the Promela models exhaustively; needs spin and a C compiler
	@formal/check

lint: $(READY) ## ruff and strict mypy
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

validate: $(READY) .venv-sam/ready .venv-checkov/ready ## cfn-lint, SAM and checkov over the templates; guided prompts
	@$(SAM) validate --lint
	@.venv-sam/bin/cfn-lint --append-rules cfn_lint_serverless.rules -- $(TEMPLATES)
	@.venv-checkov/bin/checkov --file $(TEMPLATES) --framework cloudformation --skip-download --compact --quiet
	@SAM=.venv-sam/bin/sam $(BIN)/python -m pytest --quiet tests/template/test_guided_deploy.py

build: .venv-sam/ready ## sam build into .aws-sam/build, of wheels whose hashes were checked; ARCHITECTURE=arm64
	@test -n "$(PYTHON313)" || { echo "sam build needs Python 3.13, the template's, and there is none here"; exit 1; }
	@rm -rf .aws-sam/build
	@$(MAKE) --no-print-directory $(WHEELS)/ready
	@PIP_NO_INDEX=1 PIP_FIND_LINKS="$(CURDIR)/$(WHEELS)" PATH="$(dir $(PYTHON313)):$$PATH" \
		$(SAM) build --parameter-overrides Architecture=$(ARCHITECTURE) 2>&1 | \
		{ grep -E "^(Build Succeeded|Build Failed|Error)" || true; }
	@test -d .aws-sam/build/EngineLayer/python/order_engine
	@cat $(SHIPPED) | PYTHONWARNINGS=ignore .venv-sam/bin/cyclonedx-py requirements --pyproject pyproject.toml \
		--output-reproducible --output-file .aws-sam/bom.json -

# By itself, `sam build` has pip check the hashes of this machine's wheels alone; another processor's it fetches by name and version.
$(WHEELS)/ready: $(SHIPPED)
	@rm -rf $(@D)
	@fetch="$(PYTHON313) -m pip download --quiet --disable-pip-version-check --require-hashes --dest $(@D)"; \
		platform=$(ARCHITECTURE:arm64=aarch64); \
		for file in $(SHIPPED); do $$fetch --requirement $$file && $$fetch --requirement $$file --only-binary=:all: \
			--python-version 3.13 --platform manylinux_2_28_$$platform --platform manylinux2014_$$platform || exit 1; done
	@touch $@

artifact: $(READY) .venv-sam/ready ## run every handler from what sam build made, on the template's Python; report sizes
	@if [ -z "$(PYTHON313)" ]; then echo "artifact: skipped, because there is no Python 3.13 here"; exit 0; fi; \
		$(MAKE) --no-print-directory build && \
		ARTIFACT=.aws-sam/build TEMPLATE_PYTHON="$(PYTHON313)" $(BIN)/python -m pytest tests/template/test_artifact.py

# Where no engine answers, but something beside the project can start one. It is started in a recipe's line without
# $(MAKE): one that had make's jobserver open would keep `make --jobs` from ending for as long as it runs.
ENGINE := docker info >/dev/null 2>&1 || { test ! -x ../shared/lambda-runtime/up || eval "$$(../shared/lambda-runtime/up)"; }

sam-local: $(READY) .venv-sam/ready ## every event of events/ through sam local in containers
	@$(ENGINE) || true
	@$(ENGINE); \
		if ! docker info >/dev/null 2>&1; then echo "sam-local: skipped, because no Docker engine answers"; exit 0; fi; \
		if [ -z "$(PYTHON313)" ]; then echo "sam-local: skipped, because there is no Python 3.13 here"; exit 0; fi; \
		$(MAKE) --no-print-directory build && SAM=.venv-sam/bin/sam $(BIN)/python -m pytest -rP tests/sam_local

sam-stack: $(READY) ## the local stack for containers; prints a sam local invoke line for each event
	@$(ENGINE) || true
	@$(ENGINE); docker info >/dev/null 2>&1 || \
		{ echo "error: sam local needs Docker, and no engine responds; start it, or set DOCKER_HOST" >&2; exit 1; }; \
		$(MAKE) --no-print-directory build && exec $(BIN)/python -m local sam

# The SAM CLI can't live in one environment with MiniStack: they pin different botocores. Nor can checkov with either.
.venv-sam/ready: Makefile
	@echo "Setting up .venv-sam (once; about a minute)" >&2
	@$(PYTHON) -m venv .venv-sam
	@.venv-sam/bin/python -m pip install --quiet --disable-pip-version-check \
		aws-sam-cli==1.170.0 cfn-lint==1.58.0 cfn-lint-serverless==0.3.6 cyclonedx-bom==7.5.0
	@touch $@

.venv-checkov/ready: Makefile
	@echo "Setting up .venv-checkov (once; about a minute)" >&2
	@$(PYTHON) -m venv .venv-checkov
	@.venv-checkov/bin/python -m pip install --quiet --disable-pip-version-check checkov==3.3.30
	@touch $@

COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --strip-extras --no-annotate --no-emit-index-url \
	--no-emit-find-links --no-emit-trusted-host
lock: $(READY) ## write requirements.lock anew, and with hashes what the layers ship
	@$(COMPILE) --extra layer --extra docs --extra local --extra dev --output-file requirements.lock pyproject.toml
	@$(COMPILE) --generate-hashes --constraint requirements.lock --extra layer --output-file $(word 1,$(SHIPPED)) pyproject.toml
	@$(COMPILE) --generate-hashes --constraint requirements.lock --extra docs --output-file $(word 2,$(SHIPPED)) pyproject.toml

clean: ## delete what make has made
	rm -rf $(VENV) .venv-sam .venv-checkov .node .local .aws-sam .pytest_cache .mypy_cache .ruff_cache .hypothesis

# What tests run in JavaScript, and AsyncAPI's own schema. Tests that need it are skipped without it.
.node/ready: Makefile
	@if [ "$$CI" = true ] && [ "$$(id -u)" = 0 ] && ! command -v npm >/dev/null; then \
		apt-get update -qq >/dev/null; \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null; fi
	@if ! command -v node >/dev/null || ! command -v npm >/dev/null; then \
		echo "node: skipped, because there is no Node.js with npm here"; exit 0; fi; \
		echo "Setting up .node (once; about ten seconds)"; \
		rm -rf .node && mkdir .node && npm install --silent --no-audit --no-fund --no-package-lock --prefix .node \
		newman@6.2.2 ws@8.23.0 @asyncapi/specs@6.11.1 && touch $@

# Made anew for other packages, and for a PYTHON that is given and another one. The .pth makes the project importable from
# everywhere, for editors too.
GIVEN_PYTHON := $(if $(filter command environment,$(firstword $(origin PYTHON))),$(PYTHON))
$(READY): requirements.lock Makefile client/pyproject.toml $(if $(filter-out $(shell cat $(VENV)/python 2>/dev/null),$(GIVEN_PYTHON)),other-python)
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version) if sys.version_info < (3, 11) else 0'
	@echo "Setting up $(VENV) (once; about a minute)" >&2
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable ./client
	@$(BIN)/python -c 'import site, pathlib; \
		(pathlib.Path(site.getsitepackages()[0]) / "order_engine.pth").write_text("$(CURDIR)\n$(CURDIR)/layers/common/python\n")'
	@echo $(PYTHON) > $(VENV)/python
	@touch $(READY)

.PHONY: other-python
