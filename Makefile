# Everything that a fresh machine needs: Python 3.11, git, make and the network to PyPI.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test lint format docs bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    set up, then take two real models to TFLite, TensorRT and SNPE"
	@echo "make test    set up, then run the tests, with the vendors' real compilers"
	@echo "make lint    set up, then ruff, mypy and the walls between packages"
	@echo "make format  format the code"
	@echo "make docs    write the support matrix out of the measured tables"
	@echo "make bench   measure how passes scale with the size of the graph"

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP)
	$(BIN)/graphopt backends matrix -b tflite,tensorrt,snpe > docs/support.md

bench: $(STAMP)
	$(BIN)/python benchmarks/scaling.py

clean:
	rm -rf $(VENV) demo-out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
