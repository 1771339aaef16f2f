# liuhen: "make run" starts it, "make test" proves it. Both install what they
# need (PostgreSQL server binaries). "make help" lists everything.

SHELL := /bin/bash
.DEFAULT_GOAL := help

BIN     := bin/liuhen
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unreleased)
LDFLAGS := -X main.version=$(VERSION)

GOLANGCI_VERSION := v2.15.0

# Flags for serve, e.g. make run ARGS="--http :9090 --data /srv/liuhen"
ARGS ?=
# How long each fuzz target runs, and how often the kill harness kills.
FUZZTIME ?= 30s
KILLS    ?= 120

.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/liuhen
	go build -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/liuhen

.PHONY: postgresql
postgresql: ## install PostgreSQL server binaries where there are none
	@scripts/postgresql.sh

.PHONY: run
run: postgresql build ## start the system on http://127.0.0.1:8080
	@exec $(BIN) serve $(ARGS)

.PHONY: demo
demo: postgresql build ## start it with a small synthetic office in it
	@exec $(BIN) serve --sample $(ARGS)

.PHONY: test
test: postgresql ## every test, with a short run of the kill harness
	go vet ./...
	go test -timeout 25m ./...

.PHONY: race
race: postgresql ## every test under the race detector (needs a C compiler)
	go test -race -timeout 60m ./...

.PHONY: kill-test
kill-test: postgresql ## kill the real program KILLS times (120) under 64 clients
	LIUHENTEST_KILLS=$(KILLS) go test -timeout 120m -count=1 -v -run '^TestKill$$' ./internal/killtest

.PHONY: bench
bench: postgresql build ## measure, print a table and write bench.json
	go run ./internal/bench $(ARGS)

.PHONY: fuzz
fuzz: ## run every fuzz test for FUZZTIME (30s)
	@scripts/fuzz.sh $(FUZZTIME)

.PHONY: lint
lint: bin/golangci-lint ## golangci-lint with .golangci.yml, gofmt
	bin/golangci-lint run ./...

bin/golangci-lint:
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

.PHONY: docs
docs: build ## make docs/law and docs/DUTIES.md from the law
	@rm -rf docs/law
	$(BIN) law print docs/law --lang zh
	$(BIN) law duties --lang zh > docs/DUTIES.md

.PHONY: clean
clean: ## remove what was built; data folders stay
	rm -rf bin bench.json
