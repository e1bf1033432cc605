# Two commands on a fresh machine: `make demo`, `make test`.  `make benchmark`
# prints a JSON line a figure.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow benchmark lint types install constraints clean

demo: install
	$(BIN)/gtr demo

test: install lint types
	$(BIN)/python -m pytest -q

test-slow: install
	$(BIN)/python -m pytest -q -m slow

benchmark: install
	$(BIN)/python -m benchmarks

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/pyright --warnings

install: $(VENV)/installed

# Made anew when the requirements change; interrupted, it is taken up again.
$(VENV)/installed: pyproject.toml setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  f"gtr_jax needs Python 3.11 or newer, $(PYTHON) is {sys.version}; \
	run make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check \
	  -c constraints.txt -e '.[dev]'
	touch $@

# The versions that this environment holds become the tested ones.
constraints: install
	$(BIN)/python -m pip freeze --exclude-editable \
	  | grep -E '^[A-Za-z0-9_.-]+==' > constraints.tmp
	mv constraints.tmp constraints.txt

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
