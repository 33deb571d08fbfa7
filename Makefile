PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BACKENDS := tensorflow jax torch
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo smoke test test-all lint bench docs clean

# Runs again only when what is to be installed has changed.
$(READY): setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
		--editable ".[tensorflow,jax,torch,data,few-shot,detection,export,rl,recipes,docs,dev]"
	touch $@

demo: $(READY)  ## Train, distil and compare on five real domains (10 minutes on two cores).
	$(BIN)/python recipes/distill_universal.py --output_dir=runs/demo

smoke: $(READY)  ## The same on a few images (a minute).
	$(BIN)/python recipes/distill_universal.py --smoke --output_dir=runs/smoke

# Single-threaded kernels: two test processes on two cores otherwise wait for each other. A test
# compiles much and runs little, so XLA does what compiles fastest, unoptimised and in one piece:
# JAX takes a third of the time.
# A file stays in one process, which runs its fixtures (the smoke runs of the recipes) once.
TEST_ENV := OMP_NUM_THREADS=1 \
	XLA_FLAGS="--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true \
	--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"

test: $(READY)  ## The tests on the three backends.
	set -e; for backend in $(BACKENDS); do \
		echo "== $$backend"; \
		KERAS_BACKEND=$$backend $(TEST_ENV) $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile; \
	done

test-all: $(READY)  ## Also the tests that take minutes.
	set -e; for backend in $(BACKENDS); do \
		echo "== $$backend"; \
		KERAS_BACKEND=$$backend $(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist loadfile; \
	done

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)  ## Side by side with plain torch.
	$(BIN)/python benchmarks/distillation_step.py
	$(BIN)/python benchmarks/adapted_resnet26.py

clean:
	rm -rf $(VENV) build *.egg-info

docs: $(READY)  ## The site docs/_build/html; a warning is an error.
	$(BIN)/python docs/make_pages.py
	$(BIN)/python -m sphinx -q -W -b html docs docs/_build/html
