# Berth's targets; `make help` lists them.
GO      ?= go
BIN     ?= bin
# A tag is the version; without one the build is a development build, which any release replaces.
VERSION ?= $(or $(patsubst v%,%,$(shell git describe --tags --exact-match --match 'v*' 2>/dev/null)),0.2.0-dev)
BUILT   := $(shell date -u +%Y-%m-%dT%H:%M:%SZ)
AGENTS  := assets/agents
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64

PROBES  := gpu/probe/embedded
# NVIDIA's bindings declare what is deprecated, in pages of warnings.
export CGO_CFLAGS ?= -O2 -g -Wno-deprecated-declarations

.DEFAULT_GOAL := help
.PHONY: help build run vet test test-parts test-programs e2e e2e-containers e2e-vm e2e-vm-programs e2e-vm-libvirt e2e-vm-profiles guests bench chaos fuzz lint routes shots dist agents probes gpu-check generate man clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r t d; do printf '  %-12s %s\n' "$$t" "$$d"; done

# Static, as releases are: it starts faster and runs on other hosts. It carries the agents, as releases do: what is put
# on other machines is small then. They are made anew only after something of theirs has changed.
build: $(BIN)/agents.made ## build bin/berth for this machine, agents inside
	@$(call program,$(shell $(GO) env GOOS),$(shell $(GO) env GOARCH),$(BIN)/berth)

# program makes the program for an OS ($(1)) and an architecture ($(2)): a short one that has the verbs which are used
# most, and in it, compressed, the whole one (cmd/berth/front.go says why).
program = set -e; export CGO_ENABLED=0 GOOS=$(1) GOARCH=$(2); w=$(BIN)/whole-$(1)-$(2); mkdir -p assets/whole; \
  $(GO) build -tags embedagents,embedprobe $(STRIP) -o $$w ./cmd/berth; \
  GOOS= GOARCH= $(GO) run ./assets/compress $$w assets/whole/berth.zst assets/whole/berth.sum; \
  $(GO) build -tags front $(STRIP) -o $(3) ./cmd/berth

# What may be in an agent: all but the dashboard, the verbs and the daemon.
$(BIN)/agents.made: Makefile go.mod go.sum $(shell find assets backend gpu queue cmd/berth-agent cmd/berth-shim \
  cmd/berth-engine cmd/berth-probe -type f ! -name '*.zst' ! -name '*_test.go' ! -path 'assets/help/*' ! -path 'assets/whole/*' \
  ! -path '*/testdata/*' \
  ! -path 'backend/service/*' ! -path 'backend/libvirt/*' 2>/dev/null)
	@$(MAKE) --no-print-directory -s agents
	@touch $@

run: ## open the dashboard on the embedded default
	$(GO) run ./cmd/berth

# The race detector needs a C compiler and a platform that it knows; RACE=0 switches it off, RACE=1 insists.
RACE ?= $(shell $(GO) test -race -run '^$$' ./backend/base/flock >/dev/null 2>&1 && echo 1 || echo 0)
# SQLite, which is C in Go's words and does the most of what tests do, is not watched: it has locks of its own.
race  = $(eval race := $(if $(filter 0,$(RACE)),,-race $(foreach p,sqlite/lib libc,-gcflags=modernc.org/$(p)=-race=false)))$(race)
PKGS ?= ./...

vet: ## go vet
	$(GO) vet $(race) $(PKGS)

# A program under the race detector sleeps for a second when it ends, and the tests start thousands of them: not here.
test: export GORACE ?= atexit_sleep_ms=0
test: vet test-parts test-programs ## run the tests, with the race detector where it works (what CI and the README run)

# What is not under the race detector is compiled as releases are, and so are the programs that tests build: once, then.
static := CGO_ENABLED=0 GOFLAGS='$(strip $(GOFLAGS) -trimpath)'

# Only where something runs beside something else can there be a race: the detector watches those packages. What the
# tests of cmd do is start programs, whose parts have tests of their own.
all    = $(eval all := $(shell $(GO) list $(PKGS)))$(all)
starts := ^[[:space:]]*go (func|[[:alnum:]_.]+)\(|\.Go\(
beside = $(eval beside := $(shell grep -lErs --include='*.go' '$(starts)' assets backend gpu queue ui | xargs -r dirname | sort -u))$(beside)
raced  = $(filter $(beside:%=berth/%),$(all))
others = $(filter-out $(beside:%=berth/%),$(all))

test-parts:
	@echo "$(GO) test $(race), $(words $(raced)) packages$(if $(race),,: without the race detector)"
	@$(if $(raced),$(GO) test $(race) -vet=off $(TESTFLAGS) -timeout 10m $(raced))

# The tag has NVML read without cgo: tests have a fake of it.
test-programs:
	@echo "$(GO) test, $(words $(others)) packages"
	@$(if $(others),$(static) $(GO) test -vet=off -tags nvml $(TESTFLAGS) -timeout 10m $(others))

# tagged are the tests of the packages in $(2) that the build tag $(1) adds: make test runs the others.
tagged = -tags $(1) -run '^($(shell grep -hoE '^func Test\w+' $$(grep -l '^//go:build.*\<$(1)\>' $(2:%=%/*_test.go)) | sed 's/func //' | paste -sd '|' -))$$' $(2)

e2e: ## drive the built program end to end: daemon, real sshd, tmux
	$(static) $(GO) test $(TESTFLAGS) -count=1 -timeout 15m $(call tagged,e2e,./cmd/berth)

e2e-containers: ## run jobs in real containers: Podman, as root
	$(static) $(GO) test $(TESTFLAGS) -count=1 -timeout 5m $(call tagged,containers,./backend/agent/job/run ./backend/agent/engine ./cmd/berth)

# In parts, so that with make -k one's failure keeps none of the others from running.
e2e-vm: e2e-vm-programs e2e-vm-libvirt e2e-vm-profiles ## make, use and delete real machines: libvirtd and qemu, without KVM
VMLIMIT ?= 25m
e2e-vm-programs:
	$(static) $(GO) test $(TESTFLAGS) -count=1 -timeout $(VMLIMIT) -p 1 -tags vm -run '^TestVM' ./cmd/berth
e2e-vm-libvirt:
	$(static) $(GO) test $(TESTFLAGS) -count=1 -timeout $(VMLIMIT) -p 1 $(call tagged,vm,./backend/libvirt ./backend/libvirt/libvirttest)
e2e-vm-profiles:
	$(static) $(GO) test $(TESTFLAGS) -count=1 -timeout 10m -tags vm -run FreshDebian ./backend/machine/profile

bench: build ## benchmarks, side by side with what a user would pick instead
	$(GO) test -run '^$$' -bench . -benchtime 300ms -timeout 20m ./backend/... ./ui/... ./gpu/...
	$(GO) test -count=1 -v -timeout 20m -tags bench -run '^TestBench' ./cmd/berth

CHAOS ?= 200
chaos: ## the long forms: CHAOS kills of the queue, 10,000 submits at once, 10 GB of log; every machine test (an hour)
	BERTH_CHAOS=$(CHAOS) $(GO) test -count=1 -v -timeout 60m -run 'AreKilled|PowerLoss|AtOnce|ALimit|ThreeUsers' ./queue/journal ./queue/plan ./backend/agent/job/... ./backend/agent/joblog ./backend/agent/lease
	BERTH_CHAOS=$(CHAOS) $(GO) test -count=1 -v -timeout 60m -run 'JobsUnderKills|ThreeUsersOfOneServer' ./cmd/berth
	BERTH_CHAOS=$(CHAOS) $(GO) test -count=1 -v -timeout 60m -run 'BinariesBuild|LivingHeap|TwoShells|AnyLife' ./backend/transport/ssh ./backend/service/...
	BERTH_CHAOS=$(CHAOS) $(GO) test -count=1 -v -timeout 60m -tags containers -run 'AtAnyMoment' ./backend/agent/job/run
	BERTH_CHAOS=$(CHAOS) $(MAKE) -k e2e-vm VMLIMIT=90m TESTFLAGS=-v

FUZZTIME ?= 10s
fuzz: ## fuzz every parser of outside data for FUZZTIME each
	@set -e; for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p; done; done

GUESTS ?= tiny deaf fast cloud
guests: ## build the guests of the tests with real machines (from Debian packages; kept in a cache)
	sh backend/libvirt/libvirttest/guests/build.sh $(GUESTS)

lint: ## vet, gofmt and staticcheck
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "run gofmt -w on these"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

generate: ## make generated files again (the OpenAPI description)
	$(GO) generate ./...

routes: ## print which actions each route of both services needs
	@$(GO) run ./backend/service/daemon/internal/describe

shots: ## pictures of every screen into shots/
	$(GO) run ./ui/shots -o shots

man: ## manual pages into bin/man
	$(GO) run -tags man ./cmd/berth man $(BIN)/man

STRIP := -trimpath -ldflags "-s -w -X berth/backend/base/version.number=$(VERSION) -X berth/backend/base/version.built=$(BUILT)"

# The probe with NVIDIA's bindings needs a C compiler for its architecture; where there is none, the other one serves.
CC_amd64 ?= x86_64-linux-gnu-gcc
CC_arm64 ?= aarch64-linux-gnu-gcc
PROBE_ARCHS ?= amd64 arm64
probes: ## the GPU probes that agents carry, compressed: with NVIDIA's bindings (cgo), and without cgo
	@rm -f $(PROBES)/*.zst
	@set -e; for arch in $(PROBE_ARCHS); do \
	  CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -tags nvml $(STRIP) -o $(BIN)/berth-probe-nvml-linux-$$arch ./cmd/berth-probe; \
	  $(GO) run ./assets/compress $(BIN)/berth-probe-nvml-linux-$$arch $(PROBES)/berth-probe-nvml-linux-$$arch.zst; \
	  cc="$(CC_amd64)"; [ $$arch = arm64 ] && cc="$(CC_arm64)"; \
	  [ "$$($(GO) env GOHOSTOS)/$$($(GO) env GOHOSTARCH)" = linux/$$arch ] && cc="$$($(GO) env CC)"; \
	  if command -v $$cc >/dev/null; then \
	    CC=$$cc CGO_ENABLED=1 GOOS=linux GOARCH=$$arch $(GO) build $(STRIP) -o $(BIN)/berth-probe-linux-$$arch ./cmd/berth-probe; \
	    $(GO) run ./assets/compress $(BIN)/berth-probe-linux-$$arch $(PROBES)/berth-probe-bindings-linux-$$arch.zst; \
	  else echo "no $$cc: agents for $$arch carry the probe without NVIDIA's bindings only"; fi; done
	@ls -l $(PROBES)/*.zst

gpu-check: ## compare what Berth reads of this machine's GPUs with nvidia-smi, for a minute, and try jobs on them
	$(GO) build -o $(BIN)/berth-probe ./cmd/berth-probe
	$(BIN)/berth-probe check $(CHECKFLAGS)
	@[ -x $(BIN)/berth ] || $(MAKE) build
	.ci/gpu-jobs $(BIN)/berth

agents: probes ## the small static agents that release builds carry, compressed
	@mkdir -p $(AGENTS)
	@set -e; for arch in amd64 arm64; do \
	  CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build $(STRIP) -o $(BIN)/berth-shim-linux-$$arch ./cmd/berth-shim; \
	  $(GO) run ./assets/compress $(BIN)/berth-shim-linux-$$arch backend/agent/embedded/berth-shim-linux-$$arch.zst; \
	  CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -tags embedshim,embedprobe $(STRIP) -o $(BIN)/berth-agent-linux-$$arch ./cmd/berth-agent; \
	  $(GO) run ./assets/compress $(BIN)/berth-agent-linux-$$arch $(AGENTS)/berth-agent-linux-$$arch.zst; \
	  CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build $(STRIP) -o $(BIN)/berth-engine-linux-$$arch ./cmd/berth-engine; \
	  $(GO) run ./assets/compress $(BIN)/berth-engine-linux-$$arch $(AGENTS)/berth-engine-linux-$$arch.zst; done
	@ls -l $(AGENTS)

dist: agents ## release builds for every platform, agents inside
	@mkdir -p dist
	@for p in $(PLATFORMS); do os=$${p%/*}; arch=$${p#*/}; echo "dist/berth-$$os-$$arch"; \
	  ($(call program,$$os,$$arch,dist/berth-$$os-$$arch)) || exit 1; done
	@ls -l dist

clean: ## remove what was built
	rm -rf $(BIN) dist shots $(AGENTS) assets/whole/berth.* backend/agent/embedded/*.zst $(PROBES)/*.zst
