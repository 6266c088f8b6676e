# `make demo` shows fwlb's main job on real traffic, `make test` runs the tests. Both prepare what
# they need the first time: Debian packages (as root) and a virtual environment in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench fuzz lock setup clean

demo: setup
	@$(BIN)/fwlb demo

test: check
	@$(BIN)/pytest -q

# what needs no root and no time: style, types, unit and property tests
check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pytest -q tests/unit tests/properties tests/golden

bench: setup
	@$(BIN)/python -m bench

fuzz: setup
	@$(BIN)/pytest -q -m fuzz

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt packaging/setup
	@PYTHON=$(PYTHON) packaging/setup $(VENV)
	@touch $@

# renew the pinned versions
lock:
	@rm -rf build/lock && $(PYTHON) -m venv build/lock
	@build/lock/bin/pip install -q --disable-pip-version-check '.[dev]'
	@build/lock/bin/pip freeze --exclude fwlb > constraints.txt

clean:
	@rm -rf $(VENV) build dist
