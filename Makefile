# Every target sets up what it needs, also on a new machine. What is installed goes below /var/lib/pgembed (as root) or
# ~/.local/share/pgembed, into a folder of this checkout's own; PGEMBED_HOME names another.

.DEFAULT_GOAL := help
.PHONY: help demo test bench lint types psql url stop clean install install-bench install-test
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

# Nothing is written into the checkout.
export PYTHONDONTWRITEBYTECODE := 1
export PGEMBED_HOME := $(shell docker/install --checkout --print-home)
venv := $(PGEMBED_HOME)/venv/bin

# A server of this run's own, gone at its end, with those whose names go on as $(2) says: two runs at once don't meet.
define with_server
name=$(1)-$$$$; trap 'for each in $$name $(2:%=$$name-%); do "$(venv)/pgembed" server remove --name $$each; done' EXIT; \
PGEMBED_URL="$$("$(venv)/pgembed" server url --name $$name --throw-away)" && export PGEMBED_URL &&
endef

help:  ## what there is to make
	@sed -n 's/^\([a-z]*\):.*## */\1\t/p' Makefile | expand -t 8

install:
	@docker/install --checkout

install-bench:
	@docker/install --checkout --extras test,bench

install-test:
	@docker/install --checkout --extras test,lint

# The whole suite is shared by two processes, file by file, each with a server of its own; a part of it is run by one. JOBS=1 has one in any
# case. Files keep their order: unit/ is last, whose files are short, so that both end together.
JOBS := $(if $(ARGS),1,2)
others := $(shell seq -f gw%g 1 $$(($(JOBS) - 1)))

demo: install  ## set up all it needs and show what pgembed does, on real rows
	@"$(venv)/pgembed" demo $(if $(ALL),--all)

# Among the tests are the benchmarks: what they need is there before, for pip must not replace packages while tests run.
test: install-test $(if $(ARGS),,install-bench)  ## set up all it needs and run every test (ARGS="tests/unit -k name" for some)
	@$(call with_server,test,$(others)) \
	for worker in $(others); do \
		url="$$("$(venv)/pgembed" server url --name $$name-$$worker --throw-away)" && export "PGEMBED_URL_$$worker=$$url" || exit; done; \
	"$(venv)/python" -P -m pytest -p no:cacheprovider $(if $(others),-n $(JOBS) --dist loadfile --no-loadscope-reorder) $(ARGS)

bench: install-bench  ## the benchmarks, as tables and plots (ONLY=codecs; ARGS=--quick; PUBLISH=--write puts them into tests/benchmarks/README.md)
	@$(call with_server,bench) export PGEMBED_BENCH="$(PGEMBED_HOME)/bench" PGEMBED_PLOT="$(PGEMBED_HOME)/bench.png"; \
	for script in tests/benchmarks/bench_$(ONLY)*.py; do \
		echo; echo "== $$script" && "$(venv)/python" "$$script" $(ARGS) || exit; done; \
	"$(venv)/python" tests/benchmarks/publish.py $(PUBLISH)

lint: install-test  ## ruff
	@"$(venv)/ruff" check --no-cache . && "$(venv)/ruff" format --no-cache --check --extend-exclude "*.md" .

types: install-test  ## mypy
	@"$(venv)/mypy" --cache-dir "$(PGEMBED_HOME)/mypy-cache"

psql: install  ## a shell on the private server
	@"$(venv)/pgembed" server psql

url: install  ## start the private server if need be and print its URL (make -s url)
	@"$(venv)/pgembed" server url

stop:  ## stop the private server
	@test ! -x "$(venv)/pgembed" || "$(venv)/pgembed" server stop

clean:  ## delete the private servers with their data, and all that was installed for this checkout
	@for folder in "$(PGEMBED_HOME)"/server-*-* "$(PGEMBED_HOME)"/server-*; do \
		test ! -d "$$folder" || "$(venv)/pgembed" server remove --name "$$(basename "$$folder" | cut -s -d- -f3-)"; done
	@rm -rf "$(PGEMBED_HOME)"/venv "$(PGEMBED_HOME)"/mypy-cache "$(PGEMBED_HOME)"/sdists "$(PGEMBED_HOME)"/bench "$(PGEMBED_HOME)"/bench.png "$(PGEMBED_HOME)"/{postgresql-version,.lock}
	@test ! -d "$(PGEMBED_HOME)" || rmdir --ignore-fail-on-non-empty "$(PGEMBED_HOME)"
