PYTHON := .venv/bin/python

.PHONY: check test serve

$(PYTHON):
	bash -c 'set -euo pipefail; ROOT=$$PWD; source scripts/bootstrap.sh; bootstrap dev torch'

check: $(PYTHON)  ## lint and types
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

test:  ## everything that CI runs
	./run_tests.sh

serve:  ## page and API on this machine
	./launch_web_pt.sh
