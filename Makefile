# What people do with Cairn. A fresh Debian 12 machine needs Rust, git and make; the rest is set up here.

# Always the whole workspace: a part of it would have other features, and build RocksDB once more.

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help setup demo test soak bench lint

help: ## what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Debian packages and the real node, as far as they are missing
	ops/setup.sh --build --node

demo: setup ## builds, loads samples/, starts a real node with traffic, serves on 127.0.0.1:8080
	cargo build --release --locked --workspace
	target/release/cairn demo $(ARGS)

test: ## the whole test suite, a tenth of the rounds of `make soak`
	ops/setup.sh --build --node --kafka --lake --clients
	cargo fmt --all --check
	cargo build --locked --workspace --all-targets
	target/debug/cairn schemas --check
	cargo test --locked --workspace --no-fail-fast

soak: export CAIRN_SOAK = 1
soak: test ## the test suite with all rounds

bench: ## benchmarks: a table and JSON, each beside its limit in the same run
	ops/setup.sh --build --node --kafka --bench
	cargo build --release --locked --workspace
	target/release/cairn-bench $(ARGS)

lint: setup ## clippy, and cargo-deny where it is installed
	cargo clippy --locked --workspace --all-targets
	if cargo deny --version >/dev/null 2>&1; then cargo deny check --config ops/deny.toml; \
	else echo "cargo-deny is not installed (cargo install cargo-deny --locked): its checks were left out"; fi
