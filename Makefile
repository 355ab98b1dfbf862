# In-context learning or fine-tuning? Every command of this repository is a target here.
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
FILE ?=
WEIGHTS ?=
DATA ?=
QUICK ?=
ONLY ?=
VERBOSE ?=
MARKER ?=
DOCS ?=
TARGET ?=
SECONDS ?= 60
QUESTIONS ?=
MINUTES ?= 60
FAULTS ?= 100
REFERENCE ?=
EXECUTOR ?= local
PYTHON3 ?= python3

# What each target takes; a variable that a target does not take would change nothing, and is refused.
TAKES := PYTHON3
TAKES_setup := EXECUTOR
TAKES_reproduce := STUDY EXECUTOR
TAKES_smoke := EXECUTOR
TAKES_test := MARKER ONLY
TAKES_nb := NB PARAMS EXECUTOR
TAKES_help-nb := NB
TAKES_plan := STUDY DOCS QUESTIONS VERBOSE EXECUTOR
TAKES_status := STUDY DOCS QUESTIONS EXECUTOR
TAKES_figures := STUDY
TAKES_verify := STUDY
TAKES_pack := STUDY
TAKES_documents := DOCS QUESTIONS STUDY EXECUTOR
TAKES_fetch := MODEL REVISION FILE WEIGHTS DATA
TAKES_base-model := SIZE
TAKES_base-report := SIZE
TAKES_bench := QUICK ONLY
TAKES_chaos := QUICK ONLY FAULTS SEED
TAKES_soak := MINUTES STUDY REFERENCE EXECUTOR
TAKES_fuzz := TARGET SECONDS
TAKES_site := STUDY
TAKES_site-test := ONLY
TAKES_article := STUDY
GOALS := $(or $(MAKECMDGOALS),$(.DEFAULT_GOAL))
TAKEN := $(sort $(TAKES) $(foreach goal,$(GOALS),$(TAKES_$(goal))))
GIVEN := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
$(foreach name,$(filter-out $(TAKEN) MAKEFLAGS MAKEOVERRIDES SHELL,$(GIVEN)),$(error \
  $(name) = '$($(name))': `make $(GOALS)` does not take it; it takes $(TAKEN)))

# Each checkout runs its own code and the packages of its own environment, whatever else is installed or set.
export PYTHONPATH := $(CURDIR)/src
export PYTHONNOUSERSITE := 1
export PIP_USER := 0
export JUPYTER_PREFER_ENV_PATH := 1
unexport JUPYTER_PATH

# An active conda environment is used as it is, but for its base; otherwise .venv is made here.
ifeq ($(CONDA_DEFAULT_ENV),base)
  CONDA_PREFIX :=
endif
ifneq ($(word 2,$(CONDA_PREFIX)),)
  $(error CONDA_PREFIX = '$(CONDA_PREFIX)': make cannot use a path with a space; run `conda deactivate`, and .venv is used)
endif
ifneq ($(CONDA_PREFIX),)
  BIN := $(CONDA_PREFIX)/bin
  READY := $(CONDA_PREFIX)/icl-or-finetuning-ready
else
  BIN := .venv/bin
  READY := .venv/ready
endif
HASHED := $(filter-out requirements/torch.lock,$(wildcard requirements/*.lock))
PIP := $(BIN)/python -m pip install --quiet
# The lock files record the hash of every file and name every package. Only wheels: an installation runs no foreign code.
LOCKED := $(PIP) --require-hashes --no-deps --no-build-isolation --only-binary :all:
RUN := $(BIN)/python -m study
# Commands that run trials also need the packages of their executor.
# Of commands that take the published study unless another is named.
OF_STUDY := $(if $(filter command line environment,$(origin STUDY)),--study "$(STUDY)")
TRIALS := $(READY)$(if $(filter ray,$(EXECUTOR)),.ray)
export EXECUTOR

.PHONY: help setup reproduce smoke test golden nb help-nb plan status figures verify pack documents fetch base-model base-report bench chaos soak fuzz site site-test article lab lock licences audit lint clean

help: ## list the targets
	@sed -nE 's/^([a-z][a-z-]*):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(TRIALS) ## install the pinned packages (the other targets do it themselves)

.venv/bin/python:
	@$(PYTHON3) -c 'import sys; sys.exit("Python 3.11.5 or newer is needed, this is %s: set PYTHON3=..." % sys.version.split()[0] if sys.version_info < (3, 11, 5) else 0)'
	$(PYTHON3) -m venv .venv

# torch comes last and without a hash: its build depends on the machine's GPU.
$(READY): requirements/main.lock requirements/torch.lock pyproject.toml | $(BIN)/python
	@$(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11, 5))' 2>/dev/null || \
	  { echo "error: $(BIN)/python has no pip, or is older than Python 3.11.5; remove the environment (rm -r $(dir $(BIN))) and run again" >&2; exit 1; }
	$(LOCKED) --requirement requirements/main.lock
	$(PIP) --requirement requirements/torch.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# The others: article, audit, bench, fuzz, ray, site. Three packages of the benchmark are published as sources only.
$(READY).%: requirements/%.lock $(READY)
	$(LOCKED) --no-binary rouge_score,sqlitedict,word2number --requirement $<
	@touch $@

reproduce: $(TRIALS) ## run the study: STUDY=default (or smoke, or any file in params/); EXECUTOR=ray: on a Ray cluster
	@$(RUN) reproduce --study "$(STUDY)"

smoke: $(TRIALS) ## run a small version of the study
	@$(RUN) reproduce --study smoke

test: $(READY) ## run the tests; MARKER=nightly (or whole, chaos): the slow ones; ONLY=expression of pytest's -k
	@OMP_WAIT_POLICY=passive $(BIN)/python -m pytest $(if $(filter chaos,$(MARKER)),,-n 2) $(if $(MARKER),-m "$(MARKER)") $(if $(ONLY),-k "$(ONLY)")

golden: $(READY) ## record the golden study of the tests again, once a version of results was raised
	@OMP_WAIT_POLICY=passive PYTHONPATH="tests:$$PYTHONPATH" $(BIN)/python -m golden

nb: $(TRIALS) ## run one notebook with other params: NB=03 PARAMS=mine.yaml
	@$(RUN) nb "$(NB)" "$(PARAMS)"

help-nb: $(READY) ## print the question of a notebook and its settings: NB=03
	@$(RUN) help-nb "$(NB)"

plan: $(READY) ## print what `make reproduce` would run: STUDY=default; or `make documents`: DOCS, QUESTIONS; VERBOSE=1: every run
	@$(RUN) plan --study "$(STUDY)" --docs "$(DOCS)" --questions "$(QUESTIONS)" $(if $(VERBOSE),--verbose)

status: $(READY) ## print what is finished, diverged or failed: STUDY=default; or of `make documents`: DOCS, QUESTIONS
	@$(RUN) status --study "$(STUDY)" --docs "$(DOCS)" --questions "$(QUESTIONS)"

figures: $(READY) ## redraw the figures from the results, without a model: STUDY, or the published study
	@$(RUN) figures $(OF_STUDY)

verify: $(READY) ## recompute the verdicts of the published study, or of STUDY, from its rows
	@$(RUN) verify $(OF_STUDY)

pack: $(READY) ## put the finished runs of a study together, a file for each dataset and seed, as it is published: STUDY=full
	@$(RUN) pack --study "$(STUDY)"

documents: $(TRIALS) ## compare the methods on your own documents: DOCS=folder QUESTIONS=file; without QUESTIONS, draft some
	@$(RUN) documents --docs "$(DOCS)" --questions "$(QUESTIONS)" --study "$(if $(filter command line environment,$(origin STUDY)),$(STUDY),documents)"

fetch: $(READY) ## fetch a hub model (MODEL=owner/name, REVISION=commit, FILE=x.gguf, WEIGHTS=folder) or public data (DATA=reversal_curse)
	@$(RUN) fetch --model "$(MODEL)" --revision "$(REVISION)" --file "$(FILE)" --weights "$(WEIGHTS)" --data "$(DATA)"

base-model: $(READY) ## pretrain a bundled model: SIZE=cpu from scratch, SIZE=default continues from it on a GPU
	@$(RUN) base-model --size "$(SIZE)"

base-report: $(READY) ## compare the bundled model's skills with their targets: SIZE=default
	@$(RUN) base-report --size "$(SIZE)"

bench: $(READY).bench ## measure speed against what others use, on this machine: QUICK=1, ONLY="scoring tuning"
	@$(BIN)/python -m bench $(if $(QUICK),--quick) --only "$(ONLY)"

chaos: $(TRIALS) ## disturb a tiny study by every fault in turn and count those it survives: QUICK=1, FAULTS=100 kills, ONLY="kills,clock"
	@OMP_WAIT_POLICY=passive QUICK="$(QUICK)" ONLY="$(ONLY)" FAULTS="$(FAULTS)" $(BIN)/python -m pytest -m chaos -vv tests/chaos

soak: $(TRIALS) ## kill processes of a study at random: MINUTES=60, STUDY=default; REFERENCE=folder of trials to compare with
	@PYTHONPATH="tests:$$PYTHONPATH" $(BIN)/python -m chaos.soak --minutes "$(MINUTES)" --study "$(STUDY)" --reference "$(REFERENCE)"

fuzz: $(READY).fuzz ## give odd input to all that reads any, guided by the code it reaches: SECONDS=60 each, TARGET=params
	@$(BIN)/python tests/fuzz.py "$(TARGET)" "$(SECONDS)"

site: $(READY).site ## make the site from the published results, without a network: build/site/index.html
	@rm -rf build/site
	@STUDY="$(if $(OF_STUDY),$(STUDY))" $(BIN)/python -m sphinx -E -q -W --keep-going -d build/doctrees docs build/site
	@echo "open build/site/index.html"

site-test: $(READY).site ## test the site in a real browser: links, search, console, accessibility
	@$(BIN)/python -m pytest -m browser -n 2 $(if $(ONLY),-k "$(ONLY)")

article: $(READY).article ## make the article from the published results: docs/article/article.pdf; of STUDY: build/article.pdf
	@PYTHONPATH="docs/_ext:$$PYTHONPATH" $(BIN)/python -m study_article "$(if $(OF_STUDY),$(STUDY))"

lab: $(READY) ## open the notebooks in JupyterLab
	@$(BIN)/python -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root) --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate --LabApp.news_url=None --LabApp.extension_manager=readonly notebooks

# uv is given the versions alone: it would keep the hashes of a file that has some.
# It needs uv alone: what is to be locked cannot be installed yet.
lock: | $(BIN)/python ## record the hashes of the pinned versions again, after a version was changed
	@[ -x $(BIN)/uv ] || $(LOCKED) --requirement requirements/audit.lock
	@mkdir -p build/requirements; for file in $(HASHED); do rm -f build/$$file; \
	  grep -o '^[^#= ]*==[^ ]*' $$file | $(BIN)/uv pip compile --quiet --universal --no-deps --generate-hashes --no-annotate \
	    --python-version 3.11.5 --custom-compile-command "make lock" --output-file build/$$file - \
	    && mv build/$$file $$file || exit 1; done

licences: $(READY).audit ## list the licences of the installed packages: build/licences.csv
	@mkdir -p build
	@$(BIN)/python -m piplicenses --from=mixed --with-urls --format=csv --output-file=build/licences.csv
	@$(BIN)/python -m piplicenses --from=mixed --summary --order=count

audit: $(READY).audit ## ask the advisory service of PyPI for known vulnerabilities of all locked packages
	@for file in $(HASHED); do \
	  $(BIN)/python -m pip_audit --strict --disable-pip --require-hashes --requirement $$file || exit 1; done
	@$(BIN)/python -m pip_audit --strict --disable-pip --no-deps --requirement requirements/torch.lock

lint: $(READY) ## check style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/python -m mypy

clean: ## remove what is not published: caches, the smoke study, single-notebook runs
	rm -rf results/smoke results/nb results/*/failed build .mypy_cache .ruff_cache .pytest_cache src/*.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
