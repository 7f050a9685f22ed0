# Two commands are all a newcomer needs: `make demo` and `make test`. Each sets up what is missing first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export ORT_DISABLE_TELEMETRY := 1

# PROBE:PACKAGE, see .ci/system-packages.
BUILD_NEEDS := g++:g++ git:git /usr/include/nghttp2/nghttp2.h:libnghttp2-dev /usr/include/openssl/ssl.h:libssl-dev \
  /usr/include/zlib.h:zlib1g-dev pkg-config:pkg-config
FUZZER := $(shell clang++ -print-resource-dir 2>/dev/null)/lib/linux/libclang_rt.fuzzer-$(shell uname -m).a
TEST_NEEDS := clang++:clang $(FUZZER):libclang-rt-dev /usr/include/doctest/doctest.h:doctest-dev node:nodejs npm:npm
NATIVE := $(shell find cpp CMakeLists.txt -type f)
CPP_FILES := $(shell find cpp tests benchmarks -name '*.[ch]pp')
SANITIZED := build/sanitized
TSAN := build/tsan
FUZZ_SECONDS ?= 10
CHECK_FUZZ_SECONDS ?= 600

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench soak lint format protos pins clean test-cpp tsan fuzz audit-deps

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(VENV)/.built ## virtual environment, system packages, build

demo: setup ## the main job on real data, start to finish
	$(BIN)/kedge demo

test: setup lint test-cpp fuzz ## everything that decides whether a change lands, in under ten minutes
	$(BIN)/pytest -n 2 --dist loadfile -m "not long"

check: test ## the long simulations and ten minutes of fuzzing a decoder as well; CHECK_FUZZ_SECONDS to change that
	$(BIN)/pytest -m long
	$(MAKE) tsan
	$(MAKE) fuzz FUZZ_SECONDS=$(CHECK_FUZZ_SECONDS)

bench: setup ## the figures of benchmarks/README.md
	$(BIN)/python -m benchmarks

soak: setup ## an hour of traffic, rollouts and chaos, everything counted; SOAK_SECONDS, SOAK_SEED, SOAK_PLANE
	PYTHONPATH=tests/support $(BIN)/python -m kedge_testing.soak

lint: setup ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest kedge._kernel kedge._dataplane kedge._load --mypy-config-file pyproject.toml --allowlist tests/stubtest.allow
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $(CPP_FILES)

format: setup ## rewrite the sources in the house style
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP_FILES)

test-cpp: $(SANITIZED)/.built ## the C++ tests, under AddressSanitizer and UBSan
	$(BIN)/ctest --test-dir $(SANITIZED) --output-on-failure

tsan: $(TSAN)/.built ## the C++ tests, and a server in Python under load, with ThreadSanitizer
	tests/tsan/run.sh $(TSAN) $(BIN)/python

fuzz: $(SANITIZED)/.built ## every decoder in C++, FUZZ_SECONDS each (default 10), and all that arrives in Python, a third of that
	tests/fuzz/run.sh $(SANITIZED)/fuzz $(BIN)/python $(FUZZ_SECONDS)

audit-deps: ## known vulnerabilities of the pinned packages, where a service that knows them can be reached
	$(PYTHON) .ci/audit-deps constraints.txt

protos: setup ## message descriptors from protos/
	$(BIN)/python protos/generate.py

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

# Tests and fuzz targets in one build, by clang (libFuzzer is its own); the extensions are setup's, by the system's compiler.
$(SANITIZED)/.built: $(VENV)/.built $(shell find tests/cpp tests/fuzz -type f -not -path '*/corpus/*')
	@.ci/system-packages $(TEST_NEEDS)
	$(BIN)/cmake -S . -B $(SANITIZED) -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_CXX_COMPILER=clang++ \
	  -DCMAKE_BUILD_TYPE=Debug -DKEDGE_SANITIZE=address,undefined -DKEDGE_KERNEL=OFF -DKEDGE_TESTS=ON -DKEDGE_FUZZ=ON \
	  -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python >/dev/null
	$(BIN)/cmake --build $(SANITIZED)
	@touch $@

$(TSAN)/.built: $(VENV)/.built $(shell find tests/cpp -type f)
	@.ci/system-packages $(TEST_NEEDS) h2load:nghttp2-client
	$(BIN)/cmake -S . -B $(TSAN) -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_CXX_COMPILER=clang++ \
	  -DCMAKE_BUILD_TYPE=Debug -DKEDGE_SANITIZE=thread -DKEDGE_KERNEL=ON -DKEDGE_DATAPLANE=ON -DKEDGE_TESTS=ON \
	  -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir) >/dev/null
	$(BIN)/cmake --build $(TSAN)
	@touch $@
