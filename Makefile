# Everything runs in .venv, made here from nothing. `make demo` and `make test` are the two commands to know.
PYTHON ?= python3
BIN := .venv/bin

TABLES := table1 table2 controls figure3 figure5 figure6 figure7 figure9 fashion fashion-controls fashion-search fashion-minibatch fashion-table2 avatars avatars-table2 emoji emoji-table2 paper paper-table2 paper-long prior-rates normal-prior controls-avatars nested kl-weights objectives emoji-parts avatars-long avatars-eightfold avatars-eightfold-probed avatars-eightfold-order avatars-eightfold-pair avatars-eightfold-pair-order avatars-eightfold-parts avatars-eightfold-table2 emoji-eightfold emoji-eightfold-parts fashion-eightfold fashion-eightfold-parts fashion-eightfold-pair fashion-eightfold-pair-order fashion-fast fashion-parts mnist mnist-priors mnist-long figure6-avatars figure7-avatars

.PHONY: $(TABLES) torture fuzz demo test lint format clean bench study-load sanity docs dist test-export test-demo test-tables notebook

demo: .venv/.demo ## train a small crVAE-GAN on drawn faces and write runs/demo/report.html
	$(BIN)/python -m experiments.demo

test: .venv/.dev ## the tests but the slow ones, on two processes with one thread each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" tests

lint: .venv/.dev ## style, types, direction of imports
	$(BIN)/ruff check src tests benchmarks experiments
	$(BIN)/ruff format --check src tests benchmarks experiments
	$(BIN)/pyright
	$(BIN)/lint-imports

format: .venv/.dev
	$(BIN)/ruff check --fix src tests benchmarks experiments
	$(BIN)/ruff format src tests benchmarks experiments

sanity: .venv/.dev ## do the scores order real, blurred, noisy and untrained images? Needs data/emoji64
	$(BIN)/python -m pytest -m slow tests/evaluation/test_evaluation_sanity.py

bench: .venv/.dev ## speed against a straightforward port and pythae, latency, memory, loader, growth, two processes
	$(BIN)/pip install --quiet -e ".[bench]"
	-$(BIN)/pip install --quiet --no-deps pythae==0.1.2
	$(BIN)/python -m benchmarks $(BENCH)

study-load: .venv/.dev ## the preference study under 100 raters for a minute, on SQLite and PostgreSQL, and under kill -9
	for options in "" "--pause 1" "--postgresql" "--postgresql --pause 1" "--kill 3000" "--postgresql --kill 3000"; do \
		$(BIN)/python benchmarks/study_load.py --raters 100 --seconds 60 $$options || exit 1; done

test-export: .venv/.dev ## ONNX graphs of every latent construction
	$(BIN)/python -m pytest -m slow tests/export

test-demo: .venv/.dev ## the demo page in a real browser: painting, sliders, keyboard, a phone's width
	$(BIN)/python -m pytest -m slow tests/web/demo

test-tables: .venv/.dev ## the tables of faces and of the blocks' order on small models
	$(BIN)/python -m pytest -m slow tests/experiments

notebook: .venv/.dev ## runs docs/tutorial.ipynb in an empty folder and keeps its outputs; ten minutes on two cores
	$(BIN)/python -m experiments.notebook

$(TABLES): .venv/.dev ## one of the paper's tables or figures, into docs/results/; make table1 TABLE="--budget gpu --minutes 9" goes on in pieces
	$(BIN)/python -m experiments.tables $@ $(TABLE)

docs: .venv/.dev ## the documentation, as pages in docs/_build/html; a broken link or reference fails
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

dist: .venv/.dev ## source archive and wheel in dist/, checked; the wheel installed elsewhere and tried
	rm -rf dist && $(BIN)/python -m build --quiet && $(BIN)/twine check --strict dist/*
	$(BIN)/python tests/wheel.py dist/*.whl

.venv/.demo: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -e '.[eval]'
	touch $@

.venv/.dev: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@

torture: .venv/.dev ## a hundred kills of one rank, twenty of two, one at every moment of a save; 500 of every command, signals at ten moments
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests/training/test_training_kill.py
	KILLS=500 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/commands/test_commands_kills.py
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests/commands/test_commands_signals.py

fuzz: .venv/.dev ## 10,500 malformed configurations, run files and model files, 21,000 .crz files, 42,600 odd names, archives, tables and pictures
	FUZZ=2100 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m fuzz tests

clean: ## removes what was built, never runs or data
	rm -rf .venv build dist docs/_build .pytest_cache .ruff_cache .hypothesis
