# From a fresh clone: `make demo` shows what Limner does, `make studio` opens its page in the browser, `make test` runs
# its tests. All make .venv first.

VENV ?= .venv
# The first Python of 3.11 or newer that runs; set PYTHON to choose another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
PIP = $(VENV)/bin/python -m pip

.PHONY: demo studio test check install dev readers clean

demo: install
	$(VENV)/bin/limner demo

studio: install
	$(VENV)/bin/limner studio

test: dev
	$(VENV)/bin/python -m pytest --numprocesses auto

check: dev
	VENV=$(VENV) scripts/check

install: $(VENV)/.limner-installed
dev: $(VENV)/.limner-dev

$(VENV)/.limner-installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Limner needs Python 3.11 or newer; install it, or say make PYTHON=..."; exit 1; }
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --version >/dev/null 2>&1 || { rm -rf $(VENV); \
		echo "this Python cannot make environments; install its venv package (on Debian: python3-venv)"; exit 1; }
	@echo "installing Limner into $(VENV); this takes a few minutes the first time"
	$(PIP) install --quiet --upgrade "pip>=25.1"
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.limner-dev: $(VENV)/.limner-installed
	$(PIP) install --quiet --constraint constraints.txt --group dev
	@touch $@

# Programs that read our files in slow tests and are built from source: some minutes on one core.
readers: $(VENV)/.limner-installed
	CMAKE_ARGS="-DSD_WEBP=OFF -DSD_WEBM=OFF" CMAKE_BUILD_PARALLEL_LEVEL=$${CMAKE_BUILD_PARALLEL_LEVEL:-1} \
		$(PIP) install --quiet --constraint constraints.txt --no-deps --upgrade --target build/readers --group readers

clean:
	rm -rf $(VENV) limner-demo
