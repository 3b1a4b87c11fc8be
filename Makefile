# meshconsole. `make run` and `make test` do all set-up themselves; Python 3.11 and make are enough.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
# How many tests run at once: one more than there are cores, for half of its time a test waits.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
# tests.content.libp2p.fuzz_peers is the other one.
FUZZ ?= tests.relay.fuzz_messages
BIN := $(VENV)/bin
SETUP := $(PYTHON) scripts/bootstrap.py

# Locks may not name a registry, and must serve every machine: hence --no-emit-index-url, --universal.
COMPILE := .venv-lock/bin/uv --quiet pip compile --universal --generate-hashes --no-emit-index-url \
	--no-header --python-version 3.11 --override requirements/overrides.txt

.DEFAULT_GOAL := help
.PHONY: help run web test check bench demo arm64 systemd pictures reference soak lab fuzz lock lock-check sbom wheels clean product dev

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: product ## the console; without a terminal, a headless node and its log
	@exec $(BIN)/meshconsole run $(ARGS)

test: dev ## every test but the soak, some at once (JOBS=0: one after the other)
	@exec $(BIN)/python -m pytest -m "not soak" -n $(JOBS) --dist worksteal $(ARGS)

web: ## the console for a browser on this machine (ARGS="--read-only")
	@$(SETUP) web --venv $(VENV)
	@exec $(BIN)/meshconsole web $(ARGS)

check: dev ## style, types and architecture
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q tests/architecture

bench: dev ## figures: memory, CPU, latency, throughput
	@exec $(BIN)/python -m bench $(ARGS)

demo: dev ## two nodes on this machine found a team and exchange a note and a file
	@exec $(BIN)/python -m scripts.demo $(ARGS)

arm64: dev ## the demo on a real arm64 Debian, emulated (root, half an hour); DIR=folder keeps the Debian
	@exec $(BIN)/python -m scripts.arm64 $(DIR)

systemd: dev ## the system service under a real systemd (root, ten minutes), and docs/service.md; DIR=folder keeps the Debian
	@exec $(BIN)/python -m scripts.systemd $(DIR) $(ARGS)

pictures: dev ## draw docs/pictures again
	@exec $(BIN)/python -m scripts.pictures $(ARGS)

reference: dev ## write docs/reference.md, the man page and completions from the code
	@exec $(BIN)/python -m scripts.reference

docs: dev ## these documents as pages to read without a network: build/docs/index.html
	@$(SETUP) docs --venv .venv-docs
	@$(BIN)/python -m scripts.docs_site $(ARGS)

fuzz: ## a coverage-guided fuzzer on what clients may say (x86-64), until it is stopped
	@$(SETUP) fuzz --venv .venv-fuzz
	@exec .venv-fuzz/bin/python -m $(FUZZ) $(ARGS)

soak: dev ## the tests that run for minutes; with make fuzz before, the fuzzer too
	@exec $(BIN)/python -m pytest -m soak --timeout=3600 $(ARGS)

lab: dev ## every fault of the network lab (root, an hour), and docs/faults.md from what was measured
	@$(BIN)/python -m pytest tests/netlab --timeout=3600 -s $(ARGS); result=$$?; \
		$(BIN)/python -m tests.netlab.table && exit $$result

lock: ## resolve requirements/*.in again into hashed locks (UPGRADE=1 for newer versions)
	@$(SETUP) lock --venv .venv-lock
	@for name in product web dev fuzz lock docs; do \
		$(COMPILE) $(if $(UPGRADE),--upgrade) requirements/$$name.in -o requirements/$$name.txt >/dev/null || exit 1; \
	done

lock-check: dev ## ask the index whether every pin has wheels for x86-64 and ARM
	@exec $(BIN)/python -m scripts.lock_check

sbom: ## FILE=sbom.cdx.json: what the product is made of, from its lock (CycloneDX)
	@$(SETUP) lock --venv .venv-lock
	@.venv-lock/bin/cyclonedx-py requirements requirements/product.txt --pyproject pyproject.toml --of JSON \
		--output-reproducible -o "$(or $(FILE),sbom.cdx.json)"

wheels: product ## DIR=folder: collect what a set-up without network needs
	@test -n "$(DIR)" || { echo "Say where: make wheels DIR=/media/stick"; exit 2; }
	@exec $(BIN)/python -m scripts.wheels "$(DIR)"

clean: ## remove the set-up and every cache
	@find . -maxdepth 1 -name '.venv*' -type l -delete
	@rm -rf .venvs .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

product:
	@$(SETUP) product --venv $(VENV)

dev:
	@$(SETUP) dev --venv $(VENV)
