# Everything a developer types. Each target sets itself up on a machine that has only Python 3.11 or later and pip.
# make PYTHON=/path/to/python3 chooses the interpreter of the environment.

VENV = .venv
BIN = $(VENV)/bin
LOG = build/test.log
# One thread: two busy cores are slower with two, and the numbers then do not depend on the machine.
RUN = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PYTEST = pytest --durations=5
GATE_TESTS = tests/runtime/test_gate.py tests/runtime/test_gate_machine.py

.PHONY: help demo bench test test-arm test-full test-long lint docs clean

help:
	@echo 'make demo       the whole chain without hardware: export, calibrate, run, report'
	@echo 'make bench      what a decision costs, beside LibEMG; minutes on a quiet machine'
	@echo 'make test       style, types, tests, coverage'
	@echo 'make test-arm   bundles on emulated 64- and 32-bit boards'
	@echo 'make test-full  the same with coverage, and what needs packages of the system or takes some minutes more'
	@echo 'make test-long  soak, full fuzz, mutants: hours'
	@echo 'make lint       style and types alone'
	@echo 'make docs       make docs/cli.md and docs/safety-tests.md anew'
	@echo 'make clean      remove the environment and everything that was made; the working tree stays'

demo: $(VENV)/.stamp-demo
	$(RUN) myosem_edge demo

# make bench BUNDLE=my.myosem measures another bundle, BEFORE=a/checkout compares with an older one. LibEMG gets an
# environment of its own; where it cannot be installed, its row says why.
BUNDLE = build/bench/bench.myosem
PEER = build/peers-libemg
bench: $(VENV)/.stamp-test $(BUNDLE)
	@test -e $(PEER)/.stamp || { echo 'Installing LibEMG into $(PEER)' && $(BIN)/python -m venv $(PEER) && \
	$(PEER)/bin/pip install --quiet --disable-pip-version-check -r benchmarks/peers-libemg.txt && touch $(PEER)/.stamp; } || \
	echo 'LibEMG cannot be installed here: its row is skipped'
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/edge.py $(BUNDLE) --libemg $(PEER)/bin/python $(if $(BEFORE),--before $(BEFORE))

build/bench/bench.myosem: | $(VENV)/.stamp-test
	@mkdir -p build/bench
	$(RUN) myosem_edge export --out $@

lint: $(VENV)/.stamp-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.stamp-demo
	$(RUN) myosem_edge.cli.reference --write
	$(RUN) tests.safety_table --write

# The closing lines name what was skipped: a green run that skipped something has not tested it. Coverage of everything
# doubles the time, so that only the gate's is measured here, which has to be whole; test-full measures all.
test: $(VENV)/.stamp-test
	@begun=$$(date +%s) && $(MAKE) --no-print-directory lint && mkdir -p build && rm -f build/status && \
	$(RUN) coverage erase && \
	{ { $(RUN) $(if $(COVERAGE),coverage run -m) $(PYTEST) -m 'not full and not long'; echo $$? > build/status; } 2>&1 | \
	tee $(LOG); } && \
	test "$$(cat build/status)" = 0 && \
	$(if $(COVERAGE),,$(RUN) coverage run -m pytest --quiet $(GATE_TESTS) > build/gate.log || { cat build/gate.log; exit 1; }; ) \
	$(RUN) coverage combine --quiet && \
	$(RUN) coverage report --include='*/runtime/gate.py,*/runtime/limits.py' --fail-under=100 && \
	$(if $(COVERAGE),$(RUN) coverage report &&) \
	echo && echo 'Skipped:' && { grep -E '^(SKIPPED|XFAIL)' $(LOG) || echo '  nothing'; } && \
	tail -n 1 $(LOG) && echo "make test took $$(( ($$(date +%s) - begun) / 60 )) min $$(( ($$(date +%s) - begun) % 60 )) s"

# The board's Python and packages under QEMU; a part of test-full. Skips with its reason where they cannot be had.
test-arm: $(VENV)/.stamp-test
	$(RUN) $(PYTEST) -m full tests/arm -s

# pytest's exit code 5 says that no test has the marker, which is no failure here.
test-full:
	@$(MAKE) --no-print-directory test COVERAGE=yes
	@$(RUN) pytest --collect-only --quiet -m 'full and not long' > /dev/null; \
	if test $$? -eq 5; then echo 'No test is marked full.'; else $(RUN) $(PYTEST) -m 'full and not long'; fi

test-long: $(VENV)/.stamp-test
	@$(RUN) pytest --collect-only --quiet -m long > /dev/null; \
	if test $$? -eq 5; then echo 'No test is marked long.'; else $(RUN) $(PYTEST) -m long --timeout=0; fi

$(VENV)/.stamp-venv:
	@for each in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
		if "$$each" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1; then \
			echo "Environment: $(VENV), made by $$each" && "$$each" -m venv $(VENV) && touch $@ && exit 0; exit 1; \
		fi; \
	done; \
	echo 'Python 3.11 or later with its venv module is needed and was not found.' >&2; \
	echo 'Install it (Debian, Ubuntu: apt install python3 python3-venv), or name it: make PYTHON=/path/to/python3' >&2; \
	exit 1

$(VENV)/.stamp-demo: $(VENV)/.stamp-venv pyproject.toml constraints.txt
	@echo 'Installing myosem-edge[train] (some minutes the first time)'
	@$(PIP) -e '.[train]' && touch $@

$(VENV)/.stamp-test: $(VENV)/.stamp-venv pyproject.toml constraints.txt tests/peers.txt
	@echo 'Installing myosem-edge[train,dev] and the peers (some minutes the first time)'
	@$(PIP) -e '.[train,dev]' && $(PIP) --no-deps -r tests/peers.txt && touch $@ $(VENV)/.stamp-demo

clean:
	rm -rf $(VENV) build dist demo-report *.egg-info .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
