PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: book test browser pdf lab bench studies refresh clean

book: $(READY)  ## the HTML book, every chapter executed, warnings fatal
	JOBS=$(JOBS) OMP_NUM_THREADS=1 $(BIN)/jupyter-book build . --all -W -n --keep-going

test: $(READY)  ## lint, types, import contracts, tests, every chapter against its stored outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS)

browser: $(READY)  ## the built book in Chromium: links, requests, formulas, contrast, phones
	BROWSER=required $(BIN)/python -m pytest -n $(JOBS) --dist=worksteal tests/test_browser.py tests/test_explorer.py tests/test_widgets.py tests/test_lab.py

pdf: book  ## the whole book as _build/book.pdf, printed by Chromium
	PYTHONPATH=tests $(BIN)/python tools/pdf.py

lab: $(READY)  ## the chapters in JupyterLab; options of its own as ARGS="--no-browser --port=8890"
	$(BIN)/jupyter trust book/*.ipynb  # so that stored drawings are shown
	$(BIN)/jupyter-lab book $(ROOT) $(ARGS)

bench: book  ## time and memory, as ratios of medians in one run; page weights, in Chromium
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/awake.py
	$(BIN)/python benchmarks/density_evolution.py
	PYTHONPATH=tests $(BIN)/python benchmarks/explorer.py

studies: $(READY)  ## make every kept table anew whose code has changed: an hour if it is all
	OMP_NUM_THREADS=1 $(BIN)/python -m cisp_book.studies --long

refresh: $(READY)  ## the same but for the long studies; execute the chapters, store outputs as text
	OMP_NUM_THREADS=1 $(BIN)/python -m cisp_book.studies
	$(BIN)/python tools/bibliography.py
	OMP_NUM_THREADS=1 $(BIN)/python tools/refresh.py book/*.ipynb

clean:
	rm -rf _build $(VENV)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[book,cluster,test]'
	touch $@
