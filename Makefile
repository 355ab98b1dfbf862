# In-context learning or fine-tuning? Everything a reader or reviewer does is a target here.
# `make` alone lists them. Each target sets up what it needs by itself.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

STUDY ?= default
SIZE ?= default
NB ?=
PARAMS ?=
MODEL ?=
REVISION ?=
DATA ?=
QUICK ?=
ONLY ?=
VERBOSE ?=
WHOLE ?=
SCENARIO ?=
DOCS ?=
TARGET ?=
SECONDS ?= 60
QUESTIONS ?=
MINUTES ?= 60
REFERENCE ?=
EXECUTOR ?= local
REMOTE_STORE ?=
PYTHON3 ?= python3

# An active conda environment is used, with Python and pip as it has them; otherwise .venv is made here.
ifdef CONDA_PREFIX
  BIN := $(CONDA_PREFIX)/bin
  READY := $(CONDA_PREFIX)/icl-or-finetuning-ready
else
  BIN := .venv/bin
  READY := .venv/ready
endif
HASHED := $(filter-out requirements-torch.lock,$(wildcard requirements*.lock))
PIP := $(BIN)/python -m pip install --quiet
# What is fetched has a hash that the lock records. It is complete, and of wheels only, so that nothing is run to install.
LOCKED := $(PIP) --require-hashes --no-deps --no-build-isolation --only-binary :all:
RUN := $(BIN)/python -m study
# What runs trials also needs what their executor does.
TRIALS := $(READY)$(if $(filter ray,$(EXECUTOR)),.ray)
export EXECUTOR REMOTE_STORE

.PHONY: help setup reproduce smoke test nb help-nb plan status figures verify release documents fetch base-model base-report bench simulate chaos soak fuzz site site-test lab lock licences audit lint clean

help: ## list the targets
	@sed -nE 's/^([a-z][a-z-]*):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(TRIALS) ## install the pinned packages (the other targets do it themselves)

.venv/bin/python:
	@$(PYTHON3) -c 'import sys; sys.exit("Python 3.11.5 or newer is needed, this is %s: set PYTHON3=..." % sys.version.split()[0] if sys.version_info < (3, 11, 5) else 0)'
	$(PYTHON3) -m venv .venv

# torch comes last and has no hash: which build of it, for which GPU or none, is whose machine it is to say.
$(READY): requirements.lock requirements-torch.lock pyproject.toml | $(BIN)/python
	$(LOCKED) --requirement requirements.lock
	$(PIP) --requirement requirements-torch.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# What else there is: audit, bench, fuzz, ray, site. Three of the peers' packages are published as sources only.
$(READY).%: requirements-%.lock $(READY)
	$(LOCKED) --no-binary rouge_score,sqlitedict,word2number --requirement $<
	@touch $@

reproduce: $(TRIALS) ## run the study: STUDY=default (or smoke, or any file in params/); EXECUTOR=ray: on a cluster
	@$(RUN) reproduce --study "$(STUDY)"

smoke: $(TRIALS) ## run the same study in small
	@$(RUN) reproduce --study smoke

test: $(READY) ## run the tests; WHOLE=1: whole studies on every family of models, an hour
	@OMP_WAIT_POLICY=passive $(BIN)/python -m pytest $(if $(WHOLE),-m whole,-n 2)

nb: $(TRIALS) ## run one notebook with other params: NB=03 PARAMS=mine.yaml
	@$(RUN) nb "$(NB)" "$(PARAMS)"

help-nb: $(READY) ## say what a notebook asks and which settings it takes: NB=03
	@$(RUN) help-nb "$(NB)"

plan: $(READY) ## say what `make reproduce` would do: STUDY=default; VERBOSE=1: every unit
	@$(RUN) plan --study "$(STUDY)" $(if $(VERBOSE),--verbose)

status: $(READY) ## say what is finished, diverged or failed: STUDY=default
	@$(RUN) status --study "$(STUDY)"

figures: $(READY) ## redraw the figures from the results, without a model: STUDY=default
	@$(RUN) figures --study "$(STUDY)"

verify: $(READY) ## recompute every published verdict from the published rows: STUDY=default
	@$(RUN) verify --study "$(STUDY)"

release: $(READY).audit ## write build/release/*.zip, an RO-Crate of the repository as it is committed, and what it runs on: STUDY=default
	@$(RUN) release --study "$(STUDY)"
	@cat requirements.lock requirements-torch.lock | $(BIN)/python -W ignore -m cyclonedx_py requirements --short-PURLs \
	  --output-reproducible --pyproject pyproject.toml --output-file build/release/packages.cdx.json -

documents: $(TRIALS) ## ask of your own documents: DOCS=folder QUESTIONS=file; without QUESTIONS, draft some
	@$(RUN) documents --docs "$(DOCS)" --questions "$(QUESTIONS)" --study "$(if $(filter command line environment,$(origin STUDY)),$(STUDY),documents)"

fetch: $(READY) ## fetch a hub model (MODEL=owner/name, REVISION=commit) or public data (DATA=reversal_curse)
	@$(RUN) fetch --model "$(MODEL)" --revision "$(REVISION)" --data "$(DATA)"

base-model: $(READY) ## pretrain a bundled model anew: SIZE=cpu from nothing, SIZE=default from that one, on a GPU
	@$(RUN) base-model --size "$(SIZE)"

base-report: $(READY) ## measure the bundled model's skills beside their targets: SIZE=default
	@$(RUN) base-report --size "$(SIZE)"

bench: $(READY).bench ## measure speed against what others use, on this machine: QUICK=1, ONLY="scoring tuning"
	@$(RUN) bench $(if $(QUICK),--quick) --only "$(ONLY)"

chaos: $(TRIALS) ## disturb a tiny study by every fault in turn and count those it survives: QUICK=1, ONLY="kills,clock"
	@$(RUN) chaos $(if $(QUICK),--quick) --only "$(ONLY)"

soak: $(TRIALS) ## kill processes of a study at random: MINUTES=60, STUDY=default; REFERENCE=folder of trials to compare with
	@$(RUN) soak --minutes "$(MINUTES)" --study "$(STUDY)" --reference "$(REFERENCE)"

fuzz: $(READY).fuzz ## give odd input to all that reads any, guided by the code it reaches: SECONDS=60 each, TARGET=params
	@$(BIN)/python tests/fuzz.py "$(TARGET)" "$(SECONDS)"

simulate: $(READY) ## say what larger models and more machines would take: SCENARIO=70b (or any file in params/scale/)
	@$(RUN) simulate --scenario "$(SCENARIO)"

site: $(READY).site ## make the site from the published results, without a network: build/site/index.html
	@$(RUN) site --study "$(STUDY)"

site-test: $(READY).site ## test the site in a real browser: links, search, console, accessibility
	@$(BIN)/python -m pytest -m browser -n 2

lab: $(READY) ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate --LabApp.news_url=None --LabApp.extension_manager=readonly notebooks

# From the versions alone: given a file that has hashes, uv would keep them.
lock: $(READY).audit ## record the hashes of what the lock files pin, once a version in them was changed
	@mkdir -p build; for file in $(HASHED); do rm -f build/$$file; \
	  grep -o '^[^#= ]*==[^ ]*' $$file | $(BIN)/uv pip compile --quiet --universal --no-deps --generate-hashes --no-annotate \
	    --python-version 3.11.5 --custom-compile-command "make lock" --output-file build/$$file - \
	    && mv build/$$file $$file || exit 1; done

licences: $(READY).audit $(READY).bench $(READY).fuzz $(READY).ray $(READY).site ## list the licences of all locked packages: LICENCES.csv
	@$(RUN) licences

audit: $(READY).audit ## ask the advisory service of PyPI for known vulnerabilities of all locked packages
	@for file in $(HASHED); do \
	  $(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement $$file || exit 1; done
	@$(BIN)/pip-audit --strict --disable-pip --no-deps --requirement requirements-torch.lock

lint: $(READY) ## check style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

clean: ## remove what is not published: caches, the smoke study, single-notebook runs
	rm -rf results/smoke results/nb results/*/failed build .mypy_cache .ruff_cache .pytest_cache src/*.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
