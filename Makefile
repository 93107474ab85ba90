# Every target creates what it needs inside the repository: .venv for the product's tests and the
# sandbox, .venv-sam for the SAM CLI (their pins conflict), build/ for everything that is generated.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# Nothing here talks to an AWS account, whatever the caller's environment is set up for.
unexport $(filter AWS_%,$(.VARIABLES))
# Python runs from the environments alone, and may keep the bytecode that makes its next start fast.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE VIRTUAL_ENV
export PYTHONUTF8 := 1
export SAM_CLI_TELEMETRY := 0

PYTHON_OF_VENV := .venv/bin/python
PYTEST := $(PYTHON_OF_VENV) -m pytest
COMPILE := .venv/bin/uv --no-config pip compile --quiet --universal --python-version 3.13 \
	--python $(PYTHON_OF_VENV) --generate-hashes \
	--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

.PHONY: help demo sandbox test check faults history bench lock environments clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: environments ## Deploy the template into the sandbox and back up a small fleet (about 3 minutes)
	@$(PYTHON_OF_VENV) -m sandbox demo

sandbox: environments ## Leave the sandbox up and print how aws and sam reach it, until Ctrl-C
	@$(PYTHON_OF_VENV) -m sandbox up

check: environments ## The fast half of the tests: linters, types, template, unit tests
	@echo '== ruff'
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --check --quiet . || { echo 'Not formatted. Run: .venv/bin/ruff format .'; exit 1; }
	@echo '== mypy'
	@$(PYTHON_OF_VENV) -m mypy
	@echo '== cfn-lint'
	@.venv/bin/cfn-lint template.yaml
	@echo '== sam validate --lint'
	@.venv-sam/bin/sam validate --lint --template template.yaml --region us-east-1
	@echo '== unit tests'
	@$(PYTEST) -n auto tests/unit

test: check ## Everything: check, then the tests of functions, template and sandbox
	@echo '== functions and template'
	@$(PYTEST) -n auto tests --ignore=tests/unit --ignore=tests/sandbox
	@echo '== sandbox'
	@$(PYTEST) -n auto --dist loadfile tests/sandbox -m 'not deployed'
	@echo '== deployed sandbox' # one test at a time: it keeps time, and needs the machine to itself
	@$(PYTEST) tests/sandbox -m deployed

faults: environments ## Try every fault at every point of a backup, in virtual time
	@$(PYTHON_OF_VENV) -m sandbox faults

history: environments ## Let three years pass in virtual time, and judge which recovery points are kept
	@$(PYTHON_OF_VENV) -m sandbox history

bench: environments ## Measure downtime, calls and price at real speed
	@$(PYTHON_OF_VENV) -m benchmarks

lock: environments ## Recompile the pinned requirements (UPGRADE=1 takes the newest releases)
	@echo 'Compiling requirements/dev.txt, requirements/sam.txt and layers/stillpoint/requirements.txt'
	@$(COMPILE) requirements/dev.in --output-file requirements/dev.txt
	@$(COMPILE) requirements/sam.in --output-file requirements/sam.txt
	@# The layer ships the versions that the tests run with.
	@$(COMPILE) layers/stillpoint/requirements.in --constraint requirements/dev.txt \
		--output-file layers/stillpoint/requirements.txt

environments: # Not for the list: every other target brings the environments up to date first
	@python=$$(sh tools/find-python) && \
		"$$python" -I tools/environments.py .venv=requirements/dev.txt .venv-sam=requirements/sam.txt

clean: ## Remove everything that make created, environments included
	rm -rf .venv .venv-sam .environments.lock build .aws-sam
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
