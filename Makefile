# make demo   set-up, then cells of real images, and training on drawn ones: curve, test, overlays
# make test   set-up, then every test but the slow ones
# make docs   set-up, then docs/reference.md from the code, and the pages as a site in site/
#
# Variables: PYTHON (a Python 3.11, 3.12 or 3.13), TORCH_INDEX (a second package index for torch),
# INSTALLER (pip: without uv), PYTEST_ARGS, DEMO_WORK.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow lint docs

BIN := .venv/bin
DEMO_DATA := data/sample
DEMO_WORK ?= work_dirs/demo
DEMO_CONFIG := configs/cell/mask-rcnn_r18_small-anchor_demo.py
PYTEST_ARGS ?=
# One thread a process: the tests run side by side, and their numbers do not hang on the core count.
PYTEST := OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest
export PYTHON TORCH_INDEX INSTALLER

help:
	@sed -n '1,6s/^# \{0,1\}//p' Makefile

install:
	@tools/install.sh

demo: install
	@if ls models/*/model.json >/dev/null 2>&1; then \
	    $(BIN)/python -m cellseg predict data/examples/val --out $(DEMO_WORK)_cells; fi
	$(BIN)/python tools/draw_sample_data.py $(DEMO_DATA)
	$(BIN)/python tools/train.py $(DEMO_CONFIG) --work-dir $(DEMO_WORK) --resume
	$(BIN)/python tools/test.py $(DEMO_CONFIG) "$$(cat $(DEMO_WORK)/last_checkpoint)" \
	    --work-dir $(DEMO_WORK)_test --show-dir overlays
	$(BIN)/python tools/analysis_tools/analyze_logs.py plot_curve $(DEMO_WORK) \
	    --out $(DEMO_WORK)/training_curve.png
	@echo
	@echo "Sample data        $(DEMO_DATA)/train and $(DEMO_DATA)/val"
	@echo "Checkpoint         $$(cat $(DEMO_WORK)/last_checkpoint)"
	@echo "Training curve     $(DEMO_WORK)/training_curve.png"
	@echo "Log and overlays   $(DEMO_WORK) and $(DEMO_WORK)_test"

test: install
	$(PYTEST) -m "not slow" -n auto --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

test-slow: install
	$(PYTEST) -m slow -n auto --maxprocesses 2 --dist worksteal $(PYTEST_ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: install
	$(BIN)/python tools/make_reference.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement docs/requirements.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "The site           site/index.html"
