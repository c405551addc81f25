# Everything a developer or a curious stranger needs. Two commands: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
SOURCES := client service migrations tests examples benchmarks

.PHONY: demo test check chaos serve chromium receivers clean
.DEFAULT_GOAL := check

demo: $(VENV)/demo.stamp  ## a server, a network that really dies, its alert
	$(BIN)/python examples/demo.py $(if $(SEED),--seed $(SEED)) $(ARGS)

test: $(VENV)/dev.stamp chromium receivers check  ## everything: style, types, imports, tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

check: $(VENV)/dev.stamp  ## style, types, import contracts
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

chaos: $(VENV)/dev.stamp  ## the long rigs: disturbed servers, every way to end, forks, kills, a full disk, installation, hostile receivers and URLs, several servers, SIGTERM, bombs, fuzzing
	for rig in disturbed ends forks server_kills courier_kills disk_full install hostile_receivers rebinding several_servers sigterm bombs fuzz; do echo "== $$rig"; $(BIN)/python benchmarks/chaos/$$rig.py || exit 1; done

serve: $(VENV)/demo.stamp  ## the server on ./relumine.db
	$(BIN)/relumine-server serve

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 2; }
	$(PYTHON) -m venv $(VENV) || { $(MAKE) --no-print-directory venv-package && $(PYTHON) -m venv $(VENV); }

.PHONY: venv-package
venv-package:  # Debian ships venv apart from Python
	apt-get update -qq && apt-get install -y -qq python3-venv

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -c constraints.txt -e '.[server,demo]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -c constraints.txt -e '.[server,postgres,demo,dev]'
	@touch $@

chromium:  # the page is tested in a real browser
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	  || { apt-get update -qq && apt-get install -y -qq chromium; }

receivers: $(VENV)/receivers.stamp $(VENV)/node/stamp  # notifications are tested against those who receive them

$(VENV)/receivers.stamp: Makefile | $(VENV)/bin/python
	@command -v amtool >/dev/null && command -v promtool >/dev/null && command -v alertmanager-irc-relay >/dev/null || $(MAKE) --no-print-directory unpacked
	@touch $@

$(VENV)/node/stamp: examples/receivers/package-lock.json | $(VENV)/bin/python
	@command -v npm >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm; }
	mkdir -p $(@D) && cp examples/receivers/package*.json $(@D) && cd $(@D) && npm ci --silent --no-audit --no-fund
	@touch $@

.PHONY: unpacked
unpacked:  # Debian's packages, unpacked and not installed: they would start services
	apt-get update -qq
	mkdir -p $(VENV)/receivers && cd $(VENV)/receivers && apt-get download -qq prometheus prometheus-alertmanager alertmanager-irc-relay
	cd $(VENV)/receivers && for package in *.deb; do dpkg-deb -x $$package . || exit 1; done && rm *.deb
	mkdir -p /usr/share/prometheus && cp -rn $(VENV)/receivers/usr/share/prometheus/alertmanager /usr/share/prometheus/  # its path is built in

clean:  ## remove what was built here
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
