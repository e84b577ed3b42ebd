PYTHON := .venv/bin/python

.PHONY: help check test serve

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

serve:  ## start the page and the API; ARGS are passed on, e.g. ARGS="--backend ppocr"
	./launch_web_pt.sh $(ARGS)
