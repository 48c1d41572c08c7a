# `make demo` and `make test` do all the set-up: they need Python 3.11 or newer and nothing else.
#
#   make demo                        set up .venv, then train, evaluate and predict on a built-in data set
#   make test                        set up .venv, then run the tests
#   make lint                        the same for ruff and mypy
#   make test-floor                  run the quick tests with the oldest packages that pyproject.toml allows: needs uv
#   make test-python PYTHON=...      install boxwright alone for another Python, import all of it, run a short demo
#   make docs                        build the site of docs/ and the reference into site/; it needs no network to be read
#   make mutants                     change the code in a hundred ways, one at a time: each time a test must fail
#   make benchmarks                  measure on this processor and write docs/benchmarks.md and models.md; ONLY="step nms": parts
#
#   PYTHON=/path/to/python3.12       the Python to build .venv with (default: the first one that is new enough)
#   PIP_ARGS="--extra-index-url ..." more arguments for pip, for a CPU build of torch say: see docs/howto/install.md
#   VENV=.venv                       where the environment lies
#   JOBS=2                           how many processes run the tests, of 3 GB each
#   UV_ARGS="--torch-backend=cpu"    more arguments for `uv pip install`

VENV ?= .venv
PYTHON ?=
PIP_ARGS ?=
UV_ARGS ?=
ONLY ?=
JOBS ?= 2
export PYTHON PIP_ARGS

OTHER = .venv-$(notdir $(PYTHON))

.PHONY: help demo test lint test-floor test-python docs mutants benchmarks

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

demo:
	@sh tools/setup-venv "$(VENV)" demo
	"$(VENV)/bin/boxwright" demo

test:
	@sh tools/setup-venv "$(VENV)" test
	OMP_NUM_THREADS=1 "$(VENV)/bin/python" -m pytest -n $(JOBS) --dist loadfile

lint:
	@sh tools/setup-venv "$(VENV)" dev
	"$(VENV)/bin/python" -m ruff check
	"$(VENV)/bin/python" -m ruff format --check
	"$(VENV)/bin/python" -m mypy

test-floor:
	uv venv --clear --python 3.11 .venv-floor
	uv pip install --python .venv-floor --resolution lowest-direct $(UV_ARGS) -e ".[test]"
	OMP_NUM_THREADS=1 .venv-floor/bin/python -m pytest -n $(JOBS) --dist loadfile -m "not slow"

test-python:
	@sh tools/setup-venv "$(OTHER)" demo
	"$(OTHER)/bin/python" -c "import boxwright; [getattr(boxwright, name) for name in boxwright.__all__]"
	out=$$(mktemp -d) && "$(OTHER)/bin/boxwright" demo --minutes 0.3 --out "$$out/demo"

docs:
	@sh tools/setup-venv "$(VENV)" docs
	NO_MKDOCS_2_WARNING=1 "$(VENV)/bin/python" -m mkdocs --quiet build
	@echo "The site is in site/index.html."

mutants:
	@sh tools/setup-venv "$(VENV)" test
	"$(VENV)/bin/python" tools/mutants.py

benchmarks:
	@sh tools/setup-venv "$(VENV)" test
	"$(VENV)/bin/python" benchmarks/all.py $(ONLY)
