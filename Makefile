# make demo   everything from nothing: environment, embedded model, archive, server, explained pictures in demo/
# make test   everything from nothing: environment, all tests, a real TorchServe among them
# make check  lint, format, types, and what bandit and pip-audit know of holes
# make serve  the archives of model_store/ served on loopback until Ctrl-C, with curl lines to try
# make bench  the whole benchmark into build/bench/ (table, JSON, plot): an hour or more; ARGS chooses less of it
# make fuzz   request and image decoding under coverage-guided fuzzing, a minute each; ARGS="--seconds 600" for longer
# make soak   the embedded model under load for 15 minutes, then under faults, into build/soak/; ARGS="--archive mine.mar"
# make oldest  the tests with the versions of the stock TorchServe image, in an environment of its own
# make clean  remove what was made: the environment, archives, pictures, caches

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.10 python3; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$p && break; done)
RUN := .venv/bin/python

.PHONY: demo test check serve bench fuzz soak oldest environment clean
.DEFAULT_GOAL := demo

demo: environment
	$(RUN) scripts/demo.py

test: environment
	$(RUN) -m pytest $(ARGS)

check: environment
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m bandit --quiet --configfile pyproject.toml --recursive handlers scripts
	$(RUN) scripts/audit.py

serve: environment
	$(RUN) scripts/serve.py

bench: environment
	$(RUN) scripts/benchmark.py --out build/bench $(ARGS)

fuzz: environment
	@$(PYTHON) scripts/bootstrap.py --fuzz
	$(RUN) scripts/fuzz.py $(ARGS)

soak: environment
	$(RUN) scripts/soak.py --faults $(ARGS)

oldest:
	@$(PYTHON) scripts/bootstrap.py --oldest
	.venv-oldest/bin/python -m pytest $(ARGS)

environment:
	@test -n "$(PYTHON)" || { echo "Python 3.10 or later, with venv, is needed: set PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) scripts/bootstrap.py

clean:
	rm -rf .venv .venv-oldest demo logs build key_file.json model_store/*.mar .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find handlers scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
