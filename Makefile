# Two commands do all of their own set-up on a fresh machine (Python 3.11 or newer, and make): demo, test.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test stress check bench bench-studies setup build clean

demo: setup
	$(BIN)/dormouse demo
	@echo "look at runs/quickstart/report.html"

test: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

stress: setup
	DORMOUSE_STRESS=1 OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal tests/test_faults.py tests/test_store.py tests/studies/test_on_ray.py tests/lm/test_architectures.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

build: setup
	$(BIN)/python -m build --wheel --outdir dist

bench: setup
	$(BIN)/python benchmarks/quickstart.py
	$(BIN)/python benchmarks/training.py

bench-studies: setup
	$(BIN)/python benchmarks/studies.py

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("dormouse needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) build dist runs
