# Two commands do all of their own set-up on a fresh machine (Python 3.11 or newer, and make): demo, test.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TOOLS := $(VENV)/.tools
DOCS := $(VENV)/.docs

.PHONY: demo test stress check bench bench-studies docs setup tools build clean lock audit

demo: setup
	$(BIN)/dormouse demo
	@echo "look at runs/quickstart/report.html"

# Bytecode is written whatever the environment says: hundreds of processes would compile the same files anew.
test: tools
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

stress: tools
	DORMOUSE_STRESS=1 OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal tests/test_faults.py tests/test_json_files.py tests/test_store.py tests/lm/test_opening.py tests/execution/test_on_ray.py tests/lm/test_architectures.py tests/claims/test_instrument.py tests/test_cli.py tests/lm/test_train.py tests/lm/test_batch.py tests/studies/test_file.py tests/studies/test_grid.py tests/report/test_page.py

check: tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

build: tools
	$(BIN)/python -m build --outdir dist

bench: tools
	$(BIN)/python benchmarks/quickstart.py
	$(BIN)/python benchmarks/training.py

bench-studies: tools
	$(BIN)/python benchmarks/studies.py

docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "look at site/index.html (to search in it: python3 -m http.server --directory site)"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("dormouse needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $(READY)

# What the demo needs none of: the tests' tools, and the packages that results are held to.
tools: $(TOOLS)

$(TOOLS): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(TOOLS)

$(DOCS): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $(DOCS)

# What asks pypi.org. The lock has a hash for every file of every version in constraints.txt: for machines that trust no
# index (pip install --require-hashes -r requirements-lock.txt; pip install --no-deps .).
AUDIT := build/audit/bin

$(AUDIT)/uv: constraints.txt
	$(PYTHON) -m venv build/audit
	$(AUDIT)/python -m pip install --quiet uv==0.13.9 pip-audit==2.10.1 pip-licenses==5.5.5

lock: $(AUDIT)/uv
	$(AUDIT)/uv pip compile pyproject.toml --all-extras --constraint constraints.txt --generate-hashes --no-header --quiet \
		--python-version 3.11.7 --default-index https://pypi.org/simple --output-file requirements-lock.txt

audit: tools $(AUDIT)/uv
	$(AUDIT)/pip-licenses --python=$(BIN)/python --order=license
	$(AUDIT)/pip-audit --requirement requirements-lock.txt --require-hashes --disable-pip

clean:
	rm -rf $(VENV) build dist runs site
