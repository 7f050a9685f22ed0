# Two commands are all a newcomer needs: `make demo` and `make test`. Each sets up what is missing first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export ORT_DISABLE_TELEMETRY := 1

# PROBE:PACKAGE, see .ci/system-packages.
BUILD_NEEDS := g++:g++ git:git /usr/include/nghttp2/nghttp2.h:libnghttp2-dev /usr/include/openssl/ssl.h:libssl-dev \
  /usr/include/zlib.h:zlib1g-dev pkg-config:pkg-config
TEST_NEEDS := /usr/include/doctest/doctest.h:doctest-dev node:nodejs npm:npm
NATIVE := $(shell find cpp CMakeLists.txt -type f)
CPP_FILES := $(shell find cpp tests benchmarks -name '*.[ch]pp')
SANITIZED := build/sanitized

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench lint format protos pins clean test-cpp

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(VENV)/.built ## virtual environment, system packages, build

demo: setup ## the main job on real data, start to finish
	$(BIN)/kedge demo

test: setup lint test-cpp ## everything that decides whether a change lands, in under ten minutes
	$(BIN)/pytest -n 2 --dist loadfile -m "not long"

check: test ## the long fuzzing, soak and simulations as well
	$(BIN)/pytest -m long

bench: setup ## the figures of benchmarks/README.md
	$(BIN)/python -m benchmarks

lint: setup ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest kedge._kernel --mypy-config-file pyproject.toml --allowlist tests/unit/kernel/stubtest.allow
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $(CPP_FILES)

format: setup ## rewrite the sources in the house style
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP_FILES)

test-cpp: setup ## the C++ tests, under AddressSanitizer and UBSan
	@.ci/system-packages $(TEST_NEEDS)
	$(BIN)/cmake -S . -B $(SANITIZED) -G Ninja -DKEDGE_TESTS=ON -DKEDGE_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=Debug \
	  -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja >/dev/null
	$(BIN)/cmake --build $(SANITIZED)
	$(BIN)/ctest --test-dir $(SANITIZED) --output-on-failure

protos: setup ## message descriptors from protos/
	$(BIN)/python -m grpc_tools.protoc -I protos --include_imports --descriptor_set_out=src/kedge/proto/descriptors.binpb \
	  protos/inference/*.proto protos/kedge/v1/*.proto

pins: ## constraints.txt from pyproject.toml: newest versions, with hashes
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-annotate --no-header \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --all-extras --all-build-deps --output-file constraints.txt pyproject.toml

clean: ## what the build made; the virtual environment stays
	rm -rf build dist $(VENV)/.built

$(VENV)/.pins: constraints.txt
	@.ci/system-packages $(BUILD_NEEDS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement constraints.txt
	@touch $@

$(VENV)/.built: $(VENV)/.pins pyproject.toml $(NATIVE)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
