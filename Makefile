# Two commands from a fresh clone: `make demo` runs the main job, `make test` runs the tests. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDIES := levers-full levers-quick rivals granularity ensemble anatomy long-tail
STAMP := $(VENV)/.installed-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)

.PHONY: setup demo test test-slow lint figures check-figures bench bench-gpu

setup: $(STAMP)

# The name holds the hash of what defines the environment, so nothing is installed twice, whatever the files' times say.
$(STAMP):
	@echo "[setup] installing into $(VENV) (first time: about 6 GB and a few minutes)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "[setup] Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; run make PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[dev]'
	@rm -f $(VENV)/.installed-* && touch $@
	@echo "[setup] done"

demo: setup
	@echo "[demo] the study levers-quick on the embedded benchmark: pretraining, fine-tuning, records, figures"
	$(BIN)/gmixout study run levers-quick

test: setup
	@echo "[test] style, types, import contracts, then the tests (those marked slow are left to make test-slow)"
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -m "not slow"

test-slow: setup
	@echo "[test] repeated draws against planted truths, compilers, minutes of real runs"
	$(BIN)/python -m pytest -m slow tests

lint: setup
	$(BIN)/ruff format . && $(BIN)/ruff check --fix . && $(BIN)/mypy && $(BIN)/lint-imports

figures: setup
	for study in $(STUDIES); do \
		$(BIN)/gmixout figures figures/$$study/records --out figures/$$study && \
		$(BIN)/gmixout tables figures/$$study/records --out figures/$$study || exit 1; \
	done

check-figures: setup
	for study in $(STUDIES); do $(BIN)/gmixout figures figures/$$study/records --out figures/$$study --check || exit 1; done

bench: setup
	@echo "[bench] step time, memory, redraws, kernels and growth on this CPU, then figures and bars"
	$(BIN)/python -m benchmarks --device cpu

bench-gpu: setup
	@echo "[bench-gpu] the same on a GPU, and its kernels against plain torch"
	$(BIN)/python -m benchmarks --device cuda
