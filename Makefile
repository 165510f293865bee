# A thin front. What the targets do stands in CMakePresets.json and tools/; each can be run by hand.
.PHONY: help setup model build torch demo test test-release test-asan test-tsan test-torch test-neon fuzz lint format bench peers clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.* ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## install what building and testing need (Debian's packages)
	@tools/setup.sh --tests

# The script prints the path of the file, which other scripts use.
model: ## get the default model, once, into the user's cache folder
	@tools/fetch_model.sh

build: setup ## build everything, optimised, in build/release
	cmake --preset release && cmake --build --preset release

torch: setup ## build fathom-torch, which trains, in build/torch; gets libtorch once (TORCH_DIR=DIR: an existing PyTorch)
	@tools/fetch_torch.sh >/dev/null
	cmake --preset torch && cmake --build --preset torch --target fathom-torch

# Installs less than `make setup`: it needs neither the tests nor their tools.
demo: ## from nothing to one question answered at several depths
	@tools/demo.sh

# Without the model the end-to-end tests fail, so it comes first.
test: setup model ## all tests, as CI runs them (one preset: test-release, test-asan, test-tsan, test-torch)
	@tools/test.sh

# test-release, test-asan, test-tsan: one preset; tools/test.sh says which runs which part.
test-release test-asan test-tsan: setup model
	@tools/test.sh $(@:test-%=%)

test-torch: setup
	@tools/test.sh torch

# Not part of `make test`: it needs a cross compiler and an emulator, 320 MB.
test-neon: ## test the kernels for 64-bit ARM in an emulator
	@tools/setup.sh --neon
	@tools/test.sh neon

fuzz: ## fuzz each target for a minute (FUZZ_SECONDS=n: n seconds); needs clang
	@tools/setup.sh --fuzz
	@tools/fuzz.sh

lint: setup ## check format, layers and clang-tidy
	@tools/lint.sh

format: setup ## format all C++ sources in place
	find src tests bench fuzz -name '*.h' -o -name '*.cc' | xargs clang-format -i

bench: build model ## measure the default model at several depths
	build/release/fathom bench --depth full,uniform:20,uniform:15,first:15

peers: build model ## compare with llama.cpp and others, an hour or more (PEERS='--rounds 1': options)
	@tools/setup.sh --peers
	bench/peers/run.py $(PEERS)

clean: ## remove what was built (the model stays in the cache folder)
	rm -rf build
