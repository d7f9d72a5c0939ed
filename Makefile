# make demo    install everything, archive the embedded model, serve it, and write explained pictures to demo/
# make test    install everything, and run all tests, some of them against a real TorchServe
# make check   lint, format, types, import rules, and known vulnerabilities of code (bandit) and packages (pip-audit)
# make serve   serve the archives of model_store/ on loopback until Ctrl-C, and print requests to try
# make page    serve the embedded model and the page on which a browser asks it, until Ctrl-C
# make bench   all measurements, into build/bench/ (table, JSON, plot): an hour or more; ARGS selects some of them
# make fuzz    requests and pictures under coverage-guided fuzzing, one minute each; ARGS="--seconds 600" for longer
# make soak    the embedded model under load for 15 minutes, then under faults, into build/soak/; ARGS="--archive mine.mar"
# make oldest  the tests with the versions of the stock TorchServe image, in a separate environment
# make clean   remove everything that was made: environments, archives, pictures, caches

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.10 python3; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$p && break; done)
RUN := .venv/bin/python

.PHONY: demo test check serve page bench fuzz soak oldest environment clean
.DEFAULT_GOAL := demo

demo: environment
	$(RUN) scripts/demo.py

test: environment
	$(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadscope $(ARGS)

check: environment
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	PYTHONPATH=handlers:scripts .venv/bin/lint-imports
	$(RUN) -m bandit --quiet --configfile pyproject.toml --recursive handlers scripts tools
	$(RUN) -m tools.audit

serve: environment
	$(RUN) scripts/serve.py

page: environment
	$(RUN) scripts/page.py --demo

bench: environment
	$(RUN) -m tools.benchmark --out build/bench $(ARGS)

fuzz: environment
	@$(PYTHON) scripts/bootstrap.py --fuzz
	$(RUN) -m tools.fuzz $(ARGS)

soak: environment
	$(RUN) -m tools.soak --faults $(ARGS)

oldest:
	@$(PYTHON) scripts/bootstrap.py --oldest
	.venv-oldest/bin/python -m pytest $(ARGS)

environment:
	@test -n "$(PYTHON)" || { echo "Python 3.10 or later, with venv, is needed: set PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) scripts/bootstrap.py

clean:
	rm -rf .venv .venv-oldest demo logs build key_file.json model_store/*.mar .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find handlers scripts tools tests -name __pycache__ -type d -prune -exec rm -rf {} +
