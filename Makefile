# make setup   .venv with everything (skipped when it is current)
# make mini    set-up, then the whole mini recipe on real speech (stages 1-8, CPU)
# make test    set-up, then lint and all tests
# PYTHON=/path/to/python3 picks the interpreter of a new .venv (3.11 is the tested one).

PYTHON ?= python3

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export NLTK_DATA := $(CURDIR)/.venv/nltk_data

.PHONY: setup mini test lint

setup:
	@bash local/setup_env.sh "$(PYTHON)"

mini: setup
	egs2/mini_asterisk/sitok1/run.sh --stage 1 --stop_stage 8

lint: setup
	ruff check .
	ruff format --check .
	find . \( -name .venv -o -name .git -o -path './egs2/*/*/exp' \) -prune -o -type f \( -name '*.sh' -o -path './.ci/run' \) -print0 | \
	    xargs -0 shellcheck

test: lint
	python -m pytest
