# Commands for development. Start with `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
SOURCES := client service migrations tests examples benchmarks research docs

.PHONY: demo test quick check docs chaos lock serve chromium receivers generators axe clean
.DEFAULT_GOAL := check

demo: $(VENV)/demo.stamp  ## run a demo: a server, a network whose ReLUs die, and its alert
	$(BIN)/python examples/demo.py $(if $(SEED),--seed $(SEED)) $(ARGS)

test: $(VENV)/dev.stamp chromium receivers generators axe check  ## run everything: style, types, import contracts, all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --durations=25

quick: $(VENV)/dev.stamp  ## run the tests that start no other process, about two minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto tests/architecture tests/contract tests/server -k "not postgresql" --ignore=tests/server/ui --ignore=tests/server/cli

check: $(VENV)/dev.stamp  ## check style, types and import contracts
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: $(VENV)/dev.stamp  ## build the site of the documentation into ./site, without a warning
	$(BIN)/python -m docs.generate
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

RIGS = network_faults process_exit forks server_kills dispatcher_kills disk_full torn_rows packaging hostile_receivers \
	dns_rebinding multi_server slow_migration frozen_postgres postgres_failover graceful_shutdown payload_bombs pipelines \
	gzip_members silent_connections large_uploads sync_beside_training restored_backup skewed_clocks openapi_fuzz \
	timing_side_channel
chaos: $(VENV)/dev.stamp  ## run the long rigs, which kill, cut off, fill up and attack
	for rig in $(RIGS); do echo "== $$rig"; $(BIN)/python -m tests.chaos.$$rig || exit 1; done
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m hypothesis --hypothesis-profile=other_examples

LOCK = $(VENV)/lock/bin/pip-compile -q --upgrade --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	--no-emit-find-links --strip-extras --no-header
lock:  ## choose the versions of the image's packages anew, with the hashes of their files
	$(PYTHON) -m venv $(VENV)/lock && $(VENV)/lock/bin/pip install -q pip-tools
	$(LOCK) --extra server --extra postgres -o service/requirements.lock pyproject.toml
	echo hatchling | $(LOCK) -o service/build-requirements.lock -

serve: $(VENV)/demo.stamp  ## start the server with ./relumine.db
	$(BIN)/relumine-server serve

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 2; }
	$(PYTHON) -m venv $(VENV) || { $(MAKE) --no-print-directory venv-package && $(PYTHON) -m venv $(VENV); }

.PHONY: venv-package
venv-package:  # Debian has venv in a package of its own
	apt-get update -qq && apt-get install -y -qq python3-venv

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -c constraints.txt -e '.[server,demo]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -c constraints.txt -e '.[server,postgres,demo,dev]'
	@touch $@

chromium:  # for the tests of the dashboard
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	  || { apt-get update -qq && apt-get install -y -qq chromium; }

receivers: $(VENV)/receivers.stamp $(VENV)/node/stamp  # for the tests of webhooks against real receivers

$(VENV)/receivers.stamp: Makefile | $(VENV)/bin/python
	@command -v amtool >/dev/null && command -v promtool >/dev/null && command -v alertmanager-irc-relay >/dev/null || $(MAKE) --no-print-directory unpack-receivers
	@touch $@

$(VENV)/node/stamp: examples/receivers/package-lock.json | $(VENV)/bin/python
	@command -v npm >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm; }
	mkdir -p $(@D) && cp examples/receivers/package*.json $(@D) && cd $(@D) && npm ci --silent --no-audit --no-fund
	@touch $@

generators: $(VENV)/generators/stamp  # for the tests that generate clients from the OpenAPI document

$(VENV)/generators/stamp: tests/contract/generators/package-lock.json | $(VENV)/node/stamp
	mkdir -p $(@D) && cp tests/contract/generators/package*.json $(@D) && cd $(@D) && npm ci --silent --no-audit --no-fund
	@touch $@

axe: $(VENV)/axe/stamp  # for the tests of the dashboard's accessibility

$(VENV)/axe/stamp: tests/server/ui/axe/package-lock.json | $(VENV)/node/stamp
	mkdir -p $(@D) && cp tests/server/ui/axe/package*.json $(@D) && cd $(@D) && npm ci --silent --no-audit --no-fund
	@touch $@

.PHONY: unpack-receivers
unpack-receivers:  # Debian's packages are unpacked, not installed: installed, they would start services
	apt-get update -qq
	mkdir -p $(VENV)/receivers && cd $(VENV)/receivers && apt-get download -qq prometheus prometheus-alertmanager alertmanager-irc-relay
	cd $(VENV)/receivers && for package in *.deb; do dpkg-deb -x $$package . || exit 1; done && rm *.deb
	mkdir -p /usr/share/prometheus && cp -rn $(VENV)/receivers/usr/share/prometheus/alertmanager /usr/share/prometheus/  # the path is compiled in

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis
