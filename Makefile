PYTHON := .venv/bin/python

.PHONY: help check test coverage serve

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(PYTHON):
	bash -c 'set -euo pipefail; ROOT=$$PWD; source scripts/bootstrap.sh; bootstrap dev torch'

check: $(PYTHON)  ## lint and type checks
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

test:  ## everything that CI runs; ARGS are passed to pytest
	./run_tests.sh $(ARGS)

coverage: $(PYTHON)  ## measure what the ordinary tests cover; fails below the limit in pyproject.toml; ARGS are passed to pytest
	$(PYTHON) -m coverage erase
	failed=0; $(PYTHON) -m coverage run -m pytest -n 2 --dist loadscope --no-loadscope-reorder -m "not long" $(ARGS) || failed=$$?; \
	$(PYTHON) -m coverage combine --quiet && $(PYTHON) -m coverage report && exit $$failed

serve:  ## start the page and the API; ARGS are passed on, e.g. ARGS="--backend ppocr"
	./launch_web_pt.sh $(ARGS)
