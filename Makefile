# The short names of what CMake, ctest and tools/ do. Everything that is made lies in build/.
PREFIX ?= /usr/local
ONLY ?=

.PHONY: all build setup demo test test-long bench docs install dist clean

all: build

setup:                          # installs missing Debian packages (tools/packages.txt)
	@tools/setup.sh build

build: setup                    # build/hone: optimised, for any x86-64; kernels are chosen at run time
	@mkdir -p build
	@cmake -S . -B build -G Ninja > build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
	@ninja -C build hone

demo:                           # from a text to a trained model, in about ten minutes
	@tools/setup.sh build demo
	@$(MAKE) --no-print-directory build
	@tools/demo.sh

test: build                     # all tests; what they skip is listed behind them
	@ninja -C build
	@tools/test.sh build

test-long: build                # the same with the full counts of what `make test` only samples
	@ninja -C build
	@HONE_TEST_LONG=1 tools/test.sh build
	@command -v clang > /dev/null || { echo "skipped: fuzzing, which needs clang"; exit 0; }; \
	  CC=clang cmake -S . -B build/fuzz -G Ninja -DHONE_FUZZ=ON > build/fuzz.log && ninja -C build/fuzz fuzzers && HONE_TEST_LONG=1 tools/fuzz.sh build/fuzz

bench: build                    # the figures: a table, and build/bench.json
	@ninja -C build
	@tools/setup.sh bench
	@HONE_PYTHON=$$(tools/setup_python.sh) python3 bench/run.py --only "$(ONLY)"

docs: build                     # the references that are made from the tables of verbs and keys
	@build/hone schema --format md > docs/keys.md
	@build/hone man --format md > docs/verbs.md

install: build                  # bin/hone, man pages and shell completion below PREFIX
	@cmake --install build --prefix $(PREFIX)

dist: build                     # an archive that runs without root on any x86-64 Linux with glibc 2.36 or newer
	@ninja -C build hone_dist
	@tools/dist.sh build

clean:
	@rm -rf build
