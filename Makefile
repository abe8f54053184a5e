# Four verbs: demo, test, check, bench. The environment is made on first use in .venv (or VENV=...).
PYTHON ?= $(shell command -v python3.11 || command -v python3.10 || command -v python3)
VENV ?= .venv
RUN = $(VENV)/bin/python
READY = $(VENV)/.ready
WORKERS ?= 2
# Where torch is installed from first, e.g. the package index of its CPU build; empty: the usual build.
TORCH_INDEX ?=

.PHONY: demo test test-slow check bench format install weights clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(if $(TORCH_INDEX),$(RUN) -m pip install --quiet --index-url $(TORCH_INDEX) torch torchvision)
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

install: $(READY)

# Small trained policies drive around boxes on the side that the instruction names: table, videos, report.
demo: $(READY)
	rm -rf runs/demo
	$(RUN) -m vla_sim.eval --policy ensemble --scenario obstacle_left obstacle_right choose_goal \
		--episodes 20 --workers $(WORKERS) --video 6 --out runs/demo
	@echo
	@echo "open runs/demo/report.html and the videos in runs/demo/videos"

test: $(READY)
	$(RUN) -m pytest -m "not slow"

# Random kills, full-size models, short trainings (about a quarter of an hour).
test-slow: $(READY)
	$(RUN) -m pytest -m slow

check: $(READY)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

format: $(READY)
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

bench: $(READY)
	$(RUN) -m benchmarks

# Trains all shipped policies again from seeds, measures them, writes their cards (docs/training.md says how long).
weights: $(READY)
	$(RUN) -m recipes.train_all --out runs/v1 --publish policies --workers $(WORKERS)

clean:
	rm -rf $(VENV) runs build *.egg-info
