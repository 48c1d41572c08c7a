# `make demo` and `make test` do all the set-up: they need Python 3.11 or newer and nothing else.
#
#   make demo                        set up .venv, then train, evaluate and predict on a built-in data set
#   make test                        set up .venv, then run the tests
#   make lint                        the same for ruff and mypy
#
#   PYTHON=/path/to/python3.12       the Python to build .venv with (default: the first one that is new enough)
#   PIP_ARGS="--extra-index-url ..." more arguments for pip, for a CPU build of torch say: see README.md
#   VENV=.venv                       where the environment lies

VENV ?= .venv
PYTHON ?=
PIP_ARGS ?=
export PYTHON PIP_ARGS

.PHONY: help demo test lint

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

demo:
	@sh tools/setup-venv "$(VENV)" demo
	"$(VENV)/bin/boxwright" demo

test:
	@sh tools/setup-venv "$(VENV)" test
	"$(VENV)/bin/python" -m pytest

lint:
	@sh tools/setup-venv "$(VENV)" dev
	"$(VENV)/bin/python" -m ruff check
	"$(VENV)/bin/python" -m ruff format --check
	"$(VENV)/bin/python" -m mypy
