# Two commands on a fresh machine with Python 3.11, gcc and make: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# As many processes as cores; `PYTEST_ARGS=` for one.
PYTEST_ARGS ?= -n auto

.PHONY: help demo test lint coverage bench bench-x86 bench-cross conformance clean

help:
	@echo "make demo      compile a trained model, run it on its test images, compare with onnxruntime"
	@echo "make test      lint, type check and test"
	@echo "make lint      lint and type check"
	@echo "make coverage  test and report the lines no test runs"
	@echo "make bench     compile real models, compare outputs and speed with onnxruntime (takes many minutes)"
	@echo "make bench-x86 the same beside five other runtimes, in an environment of its own (takes an hour)"
	@echo "make bench-cross  every ARM and RISC-V target under emulation (needs qemu-user and cross compilers)"
	@echo "make conformance  every backend test of onnx, compiled and run; the table is build/conformance.csv"
	@echo "make clean     remove what was built"

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tilewright needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

# A stamp for each set of dependencies, renewed when setup.cfg changes.
$(VENV)/.demo: setup.cfg | $(BIN)/python
	$(PIP) --editable . onnxruntime
	@touch $@

# torch stands apart and first: the version is exact, and a package index of one's own for it is given by PIP_TORCH_ARGS.
$(VENV)/.test: setup.cfg | $(BIN)/python
	$(PIP) $(PIP_TORCH_ARGS) torch==2.13.0
	$(PIP) --editable '.[test,cuda]'
	@touch $@

$(VENV)/.bench: setup.cfg | $(VENV)/.test
	$(PIP) --editable '.[bench]'
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/python examples/digits/demo.py

lint: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/mypy benchmarks examples/digits
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -q $(PYTEST_ARGS)

coverage: $(VENV)/.test
	$(BIN)/python -m pytest -q --cov --cov-report=term-missing:skip-covered $(PYTEST_ARGS)

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.foundation

# The peers live apart: none of them is needed to build or test.
.venv-peers/.peers: setup.cfg
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet $(PIP_TORCH_ARGS) torch==2.13.0
	.venv-peers/bin/pip install --quiet --editable '.[peers]'
	@touch $@

bench-x86: .venv-peers/.peers
	.venv-peers/bin/python -m benchmarks.x86

bench-cross: $(VENV)/.test
	$(BIN)/python -m benchmarks.cross

conformance: $(VENV)/.test
	@mkdir -p build
	$(BIN)/python -m benchmarks.conformance --failures --csv build/conformance.csv

clean:
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
