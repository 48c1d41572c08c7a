# `make demo` and `make test` do all the set-up: they need Python 3.11 or newer and nothing else.
#
#   make demo                        set up .venv, then train, evaluate and predict on a built-in data set
#   make test                        set up .venv, then run the tests
#   make lint                        the same for ruff, mypy and zizmor, which reads the workflows
#   make test-floor                  run the quick tests with the oldest packages that pyproject.toml allows: needs uv
#   make test-lowest                 the same for what reads, writes and draws, with the torch that is there: no uv, a minute
#   make test-slow                   run the slow tests alone
#   make coverage                    run the others: they must reach 90 % of the lines, and 97 % of the core's
#   make test-python PYTHON=...      install boxwright alone for another Python, import all of it, run a short demo
#   make docs                        build the site of docs/ and the reference into site/; it needs no network to be read
#   make mutants                     change the code in a hundred ways, one at a time: each time a test must fail
#   make release-check               build both distributions, install them for each of PYTHONS, and use them: see docs/releasing.md
#   make benchmarks                  measure on this processor and write docs/benchmarks.md and models.md; ONLY="step nms": parts
#
#   PYTHON=/path/to/python3.12       the Python to build .venv with (default: the first one that is new enough)
#   PYTHONS="3.11 3.12"              the Pythons of release-check (default: 3.11, 3.12 and 3.13)
#   PIP_ARGS="--extra-index-url ..." more arguments for pip, for a CPU build of torch say: see docs/howto/install.md
#   VENV=.venv                       where the environment lies
#   JOBS=2                           how many processes run the tests, of 3 GB each
#   UV_ARGS="--torch-backend=cpu"    more arguments for `uv pip install`

VENV ?= .venv
PYTHON ?=
PYTHONS ?= 3.11 3.12 3.13
PIP_ARGS ?=
UV_ARGS ?=
ONLY ?=
JOBS ?= 2
export PYTHON PIP_ARGS UV_ARGS

OTHER = .venv-$(notdir $(PYTHON))
# Slow files first, as tests/conftest.py sorts them; a crashed process ends in a failure, while another one in its place
# would leave loadfile waiting for ever.
PYTEST = -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0
CORE = anchors boxes coding criterion evaluate losses matching mining nms
empty :=
comma := ,
CORE_FILES = $(subst $(empty) $(empty),$(comma),$(CORE:%=src/boxwright/%/*) $(CORE:%=src/boxwright/%.py))

.PHONY: help demo test lint test-floor test-python docs mutants release-check benchmarks

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

demo:
	@sh tools/setup-venv "$(VENV)" demo
	"$(VENV)/bin/boxwright" demo

test:
	@sh tools/setup-venv "$(VENV)" test
	OMP_NUM_THREADS=1 "$(VENV)/bin/python" $(PYTEST)

lint:
	@sh tools/setup-venv "$(VENV)" dev
	"$(VENV)/bin/python" -m ruff check
	"$(VENV)/bin/python" -m ruff format --check
	"$(VENV)/bin/python" -m mypy
	"$(VENV)/bin/zizmor" --quiet --offline .github

test-slow:
	@sh tools/setup-venv "$(VENV)" test
	OMP_NUM_THREADS=1 "$(VENV)/bin/python" $(PYTEST) -m slow

test-floor:
	uv venv --clear --python 3.11 .venv-floor
	uv pip install --python .venv-floor --resolution lowest-direct $(UV_ARGS) -e ".[test]"
	OMP_NUM_THREADS=1 .venv-floor/bin/python $(PYTEST) -m "not slow"

.PHONY: test-lowest test-slow coverage
test-lowest:
	@sh tools/setup-venv "$(VENV)" test
	rm -rf .venv-lowest
	"$(VENV)/bin/python" tools/lowest.py | "$(VENV)/bin/python" -m pip install -q --no-deps --target .venv-lowest -r /dev/stdin
	PYTHONPATH="$(CURDIR)/.venv-lowest" OMP_NUM_THREADS=1 "$(VENV)/bin/python" $(PYTEST) -m "not slow" \
		tests/data tests/recipes tests/report tests/runs/test_hub.py tests/test_package.py tests/cli/test_arguments.py

coverage:
	@sh tools/setup-venv "$(VENV)" test
	OMP_NUM_THREADS=1 "$(VENV)/bin/python" $(PYTEST) -m "not slow" --cov=boxwright --cov-report=
	"$(VENV)/bin/python" -m coverage report --skip-covered --fail-under=90
	"$(VENV)/bin/python" -m coverage report --skip-covered --show-missing --include="$(CORE_FILES)" --fail-under=97

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

release-check:
	@sh tools/setup-venv "$(VENV)" release
	"$(VENV)/bin/python" tools/release/release_check.py $(PYTHONS)

benchmarks:
	@sh tools/setup-venv "$(VENV)" test
	"$(VENV)/bin/python" benchmarks/all.py $(ONLY)
