# make run   the comparison on the embedded digits: table, pictures, reports
# make test  the whole test suite, on TensorFlow and on JAX
# make lint  ruff
# make test-torch  a smoke test on PyTorch, in an environment of its own

PYTHON ?= python3
VENV ?= .venv
TORCH_VENV ?= .venv-torch

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: run test lint test-torch

run: $(VENV)/installed
	$(VENV)/bin/python run_cifar100.py --recipe digits --compare

test: $(VENV)/installed
	KERAS_BACKEND=tensorflow $(VENV)/bin/python -m pytest -n auto --maxprocesses 4 -m "not any_backend"
	KERAS_BACKEND=jax $(VENV)/bin/python -m pytest -n auto --maxprocesses 4

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

test-torch: $(TORCH_VENV)/installed
	KERAS_BACKEND=torch $(TORCH_VENV)/bin/python -m pytest tests/test_smoke.py

$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'small_vit needs Python 3.11 or later')"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -r requirements.txt
	$(VENV)/bin/python -m pip install --quiet --no-deps -e .
	touch $@

$(TORCH_VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(TORCH_VENV)
	grep -v -E '^(jax|keras-hub|tensorflow|tensorboard)==' requirements.txt > $(TORCH_VENV)/requirements.txt
	$(TORCH_VENV)/bin/python -m pip install --quiet -r $(TORCH_VENV)/requirements.txt torch==2.13.0
	$(TORCH_VENV)/bin/python -m pip install --quiet --no-deps -e .
	touch $@
