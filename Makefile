# Everything that a fresh machine needs: Python 3.11, git, make and the network to PyPI.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test fuzz malformed audit report-test docs-test docs-site lint format docs bench bench-corpus bench-peers bench-latency bench-onnx2tf bench-pruning bench-quantization clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    set up, then take two real models to TFLite, TensorRT and SNPE"
	@echo "make test    set up, then run the tests, with the vendors' real compilers"
	@echo "make fuzz    set up, then try N random models (N=5000) on all passes and every backend's recipe"
	@echo "make malformed  set up, then try N malformed files (N=5000) on the commands that read one"
	@echo "make audit   compare the installed packages with the known vulnerabilities (asks PyPI)"
	@echo "make report-test  look at the page of reports in Chromium (which must be there); screenshots in report-out/"
	@echo "make plugins-test   test the distributions in plugins/ (fetches OpenVINO, 60 MB)"
	@echo "make docs-test    run every code block of README and docs/"
	@echo "make docs-site    build the documentation as a site, in build/site/"
	@echo "make lint    set up, then ruff, mypy and the walls between packages"
	@echo "make format  format the code"
	@echo "make docs    write the documented tables, and the support matrix out of all tables"
	@echo "make bench   measure how passes scale with the size of the graph"
	@echo "make bench-corpus   bring real models to bench-out/corpus (TORCH=python: with those that torch exports)"
	@echo "make bench-peers    measure graphopt beside onnxsim, onnxslim, onnxoptimizer, onnxscript and onnxruntime"
	@echo "make bench-onnx2tf  measure .tflite files beside onnx2tf's (fetches a gigabyte of TensorFlow)"
	@echo "make bench-pruning  measure pruned models beside onnxsim's and Torch-Pruning's (fetches torch)"
	@echo "make bench-quantization  measure 8-bit models beside onnxruntime's, onnxsim's and NNCF's"
	@echo "make bench-latency  then, how fast onnxruntime runs what each of them made"

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

N ?= 5000
FUZZ := bench-out/fuzz

# New seeds each time; FIRST=SEED repeats some. Failures go to $(FUZZ), made small.
fuzz: $(STAMP)
	$(BIN)/python -m graphopt.fuzz.campaign $(N) --folder $(FUZZ) $(if $(FIRST),--first $(FIRST))

malformed: $(STAMP)
	$(BIN)/python benchmarks/malformed $(N) $(if $(FIRST),--seed $(FIRST))

AUDIT := bench-out/audit

audit: $(STAMP)
	test -x $(AUDIT)/bin/pip-audit || { $(PYTHON) -m venv $(AUDIT) && $(AUDIT)/bin/pip install --quiet pip-audit; }
	$(AUDIT)/bin/pip-audit --path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" --skip-editable

report-test: $(STAMP)
	GRAPHOPT_SCREENSHOTS=report-out $(BIN)/python -m pytest -q tests/report

PLUGINS ?= graphopt-example graphopt-onnxruntime graphopt-openvino

plugins-test: $(STAMP) $(PLUGINS:%=plugins-test/%)

plugins-test/%: $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(VENV)/plugins/$* \
		plugins/$* $(if $(wildcard plugins/$*/requirements.txt),-r plugins/$*/requirements.txt)
	PYTHONPATH=$(VENV)/plugins/$* $(BIN)/python -m pytest -q -c plugins/$*/pyproject.toml plugins/$*

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP)
	$(BIN)/python docs/documented.py
	$(BIN)/graphopt backends matrix -b tflite,tensorrt,snpe > docs/support.md

docs-test: $(STAMP)
	GRAPHOPT_DOCS=all $(BIN)/python -m pytest -n 2 --dist worksteal -q tests/docs

docs-site: $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python docs/assemble.py build/docs
	$(BIN)/zensical build --strict

bench: $(STAMP)
	$(BIN)/python benchmarks/scaling.py

# The interpreter of an environment with benchmarks/corpus/requirements.txt brings about sixty models more.
TORCH ?= $(BIN)/python
CORPUS := bench-out/corpus
PEERS := bench-out/peers
REPEAT ?= 3

bench-corpus: $(STAMP)
	$(TORCH) benchmarks/corpus $(CORPUS)

$(PEERS)/.installed: benchmarks/peers/requirements.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

bench-peers: $(STAMP) $(PEERS)/.installed bench-corpus
	$(BIN)/python benchmarks/peers $(CORPUS) --repeat $(REPEAT) --write

bench-latency: bench-peers
	$(BIN)/python benchmarks/peers/latency.py $(CORPUS) --write

PRUNING := bench-out/pruning/environment

$(PRUNING)/.installed: benchmarks/pruning/requirements.txt
	test -x $(PRUNING)/bin/python || $(PYTHON) -m venv $(PRUNING)
	$(PRUNING)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

bench-pruning: $(STAMP) $(PRUNING)/.installed bench-corpus
	$(BIN)/python benchmarks/pruning $(CORPUS) --peers $(PRUNING) --write

QUANTIZATION := bench-out/quantization/environment

$(QUANTIZATION)/.installed: benchmarks/quantization/requirements.txt
	test -x $(QUANTIZATION)/bin/python || $(PYTHON) -m venv $(QUANTIZATION)
	$(QUANTIZATION)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

bench-quantization: $(STAMP) $(QUANTIZATION)/.installed bench-corpus
	$(BIN)/python benchmarks/quantization $(CORPUS) --peers $(QUANTIZATION) --write

ONNX2TF := bench-out/onnx2tf

$(ONNX2TF)/.installed: benchmarks/onnx2tf/requirements.txt
	test -x $(ONNX2TF)/bin/python || $(PYTHON) -m venv $(ONNX2TF)
	$(ONNX2TF)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

bench-onnx2tf: $(STAMP) $(ONNX2TF)/.installed bench-corpus
	$(BIN)/python benchmarks/onnx2tf $(CORPUS) --write

clean:
	rm -rf $(VENV) demo-out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
