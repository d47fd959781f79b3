# Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.PHONY: venv demo test lint studio clean

venv: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[studio,train,dev]'
	touch $@

demo: venv
	$(BIN)/lumigraph reconstruct data/sample/still_life -o $(DEMO) --quality draft --overwrite
	@echo "Open $(DEMO)/mesh.glb in Blender or any viewer, and $(DEMO)/report.html in a browser."

test: venv
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest

lint: venv
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

studio: venv
	$(BIN)/lumigraph studio

clean:
	rm -rf $(DEMO) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
