# make run   set up .venv and run the workflow      (CORES=2, CONFIG=config/quick.yaml)
# make test  lint, unit, property and workflow tests (PYTEST="-k skim" for some of them)
# make plan  predict jobs, time, disk and memory of a configuration (CONFIG=config/full.yaml, CORES=2, SLOTS=500)
# make envs  only build the environments of the rules
# make docs  write the generated reference pages in docs/
# make docs-site  build docs/ as a site in site/
# make new-analysis DIR=../mine  a repository for an analysis on top of this workflow
# make cancel  cancel the Slurm jobs of this folder and wait until they are gone (FOLDER=... of another run)
# make chaos N=50  kill the run at random moments, resume, compare (REFERENCE=folder of results; docs/reliability.md)
# make clean remove results, environments and caches

SHELL := /bin/bash
CORES ?= $(shell nproc 2>/dev/null || echo 2)
CONFIG ?=
FOLDER ?= $(CURDIR)
PYTEST ?=
N ?= 50
SEED ?= 1
REFERENCE ?=
SLOTS ?= 500
ACTIVATE := source .venv/bin/activate
CONFIGFILES := $(if $(CONFIG),--configfile $(CONFIG))

.PHONY: run plan test lint envs docs docs-site docs-env chaos new-analysis cancel clean venv test-env

run: venv
	$(ACTIVATE) && snakemake --cores $(CORES) $(CONFIGFILES)
	@echo "Summary: results/report/summary.txt; report: results/report.zip (open report.html in it)"

venv: .venv/.done
	@.venv/bin/python -m pypi_conda.link .venv

.venv/.done: requirements.txt workflow/setup_venv.sh
	bash workflow/setup_venv.sh .venv requirements.txt

envs: venv
	$(ACTIVATE) && snakemake --cores $(CORES) $(CONFIGFILES) --conda-create-envs-only

plan: venv
	$(ACTIVATE) && python workflow/plan.py $(CONFIGFILES) --cores $(CORES) --slots $(SLOTS)

# a real conda refuses to create over an environment; the project's own does nothing if the file has not changed
test-env: venv
	$(ACTIVATE) && action=create; [ ! -e .test-env/conda-meta/history ] || action="update --prune"; \
	  conda env $$action --file envs/test.yaml --prefix .test-env

lint: venv test-env
	$(ACTIVATE) && ruff check . && ruff format --check .
	$(ACTIVATE) && snakefmt --check Snakefile workflow
	$(ACTIVATE) && snakemake --lint
	$(ACTIVATE) && mypy
	$(ACTIVATE) && python workflow/write_reference.py --check

test: lint
	$(ACTIVATE) && .test-env/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

docs: venv
	$(ACTIVATE) && python workflow/write_reference.py

docs-env: venv
	$(ACTIVATE) && action=create; [ ! -e .docs-env/conda-meta/history ] || action="update --prune"; \
	  conda env $$action --file envs/docs.yaml --prefix .docs-env

# a warning, such as a link to nowhere or a page that index.md does not list, is an error
docs-site: docs-env
	.docs-env/bin/python -m sphinx -W --keep-going -q -b html docs site
	@echo "open site/index.html"

new-analysis: venv
	@$(ACTIVATE) && python workflow/new_analysis/create.py $(if $(DIR),$(DIR),$(error say where: make new-analysis DIR=../mine))

cancel:
	@jobs() { squeue --me --noheader --format "%i %Z" | awk -v folder="$(FOLDER)" '$$2 == folder {print $$1}'; }; \
	  jobs | xargs --no-run-if-empty scancel; while [ -n "$$(jobs)" ]; do sleep 2; done

# the quick configuration unless CONFIG names another
chaos: venv test-env
	$(ACTIVATE) && .test-env/bin/python workflow/chaos.py --kills $(N) --seed $(SEED) \
	  $(if $(REFERENCE),--reference $(REFERENCE)) -- --cores $(CORES) --configfile $(or $(CONFIG),config/quick.yaml)

clean:
	rm -rf results/*/ results/report.zip .snakemake .venv .test-env* .docs-env site .numba-cache .chaos
