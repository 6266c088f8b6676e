# `make demo` shows fwlb's main job on real traffic, `make test` runs the tests. Both prepare what
# they need the first time: Debian packages (as root) and a virtual environment in .venv.
#
# PYTHON=python3.13 takes another Python than python3, JOBS=4 runs more tests at the same time.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
# a file of tests stays in one process: its tests share a lab
PYTEST := $(BIN)/pytest -q -n $(JOBS) --dist loadfile

.PHONY: demo test check style bench fuzz setup lock clean

demo: setup
	@$(BIN)/fwlb demo

# everything but the tests that take minutes (`make fuzz`)
test: style
	@$(PYTEST)

# what needs no root and no time: style, types, unit and property tests
check: style
	@$(PYTEST) tests/unit tests/properties tests/golden

style: setup
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "run: $(BIN)/ruff format" >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary

bench: setup
	@$(BIN)/python -m bench

fuzz: setup
	@$(PYTEST) -m fuzz

# looks at what is there, and does only what is missing
setup:
	@PYTHON="$(PYTHON)" packaging/setup "$(VENV)"

# pins the newest versions; take the newest Python, because it needs the most packages
lock:
	@rm -rf build/lock && $(PYTHON) -m venv build/lock
	@build/lock/bin/pip install -q --disable-pip-version-check '.[dev]'
	@build/lock/bin/pip freeze --exclude fwlb > constraints.txt
	@rm -rf build/lock

clean:
	@rm -rf "$(VENV)" build dist
