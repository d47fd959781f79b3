# Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
# Tests at a time; each takes up to 3 GB.
WORKERS ?= 2

.PHONY: venv demo test test-blender oracles lint studio viewer blender-extension clean

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
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -m "not alone" --numprocesses $(WORKERS) --dist worksteal
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -m alone

# Blender's own Python module, in an environment of its own (it needs an older NumPy than ours); 400 MB.
BLENDER := .venv-blender

$(BLENDER)/.ready:
	$(PYTHON) -m venv $(BLENDER)
	$(BLENDER)/bin/python -m pip install --quiet 'bpy>=4.2,<5.1'
	touch $@

test-blender: venv $(BLENDER)/.ready
	LUMIGRAPH_BLENDER_PYTHON=$(abspath $(BLENDER))/bin/python $(BIN)/python -m pytest tests/blender

# Other libraries that the attacks are compared with; without their own requirements, which ask for old versions of ours.
oracles: venv
	$(BIN)/python -m pip install --quiet six scikit-learn
	$(BIN)/python -m pip install --quiet --no-deps torchattacks adversarial-robustness-toolbox

blender-extension: venv
	$(BIN)/python -m app.blender.build dist/lumigraph_import.zip

# The page's program and three.js in one file; only who changes app/viewer/main.js needs this (and npm).
viewer:
	cd app/viewer && npm install --silent && npm run --silent build

lint: venv
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

studio: venv
	$(BIN)/lumigraph studio

clean:
	rm -rf $(DEMO) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
