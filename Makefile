# distpool: everything that a developer runs. `make` lists the targets.
#
# Nothing has to be installed by hand but Go and make: linters are run at pinned
# versions, and `make test` gets a redis-server where it may.

GO        ?= go
PKGS      ?= ./...
TESTFLAGS ?=
N         ?= 20000
ROUNDS    ?= 3
ONLY      ?=
FOR       ?= 10s

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# 1.17.1 needs a module that the public proxy does not serve.
REVIVE      := github.com/mgechev/revive@v1.17.0

# Programs that run anywhere: no C library, no paths of the building machine.
GOBUILD := CGO_ENABLED=0 $(GO) build -trimpath

# A pattern ends at the modules below it: see CONTRIBUTING.md, Modules.
PATTERNS = $$(./scripts/modules.sh patterns $(PKGS))

export DISTPOOL_REDIS_SERVER DISTPOOL_PROMTOOL

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo 'Variables: PKGS=./results/... and TESTFLAGS="-run Map -count=20" for test,'
	@echo 'N=2000 ROUNDS=1 FOR=3s ONLY=W3 to shorten bench-compare,'
	@echo 'SEED=7 DURATION=10m WORKERS=4 TOPOLOGY=sentinel (or cluster) for chaos,'
	@echo 'REDIS_URL for demo, DISTPOOL_REDIS_SERVER for the tests'"'"' redis-server.'

.PHONY: build
build: ## Build the programs into bin/, static
	$(GOBUILD) -o bin/ ./cmd/...

.PHONY: demo
demo: ## Show the pool at work: no Redis needed, ends by itself
	@$(GO) run ./cmd/distpool demo

.PHONY: test
test: redis-server ## Run all tests, with the race detector and real Redis servers
	@./scripts/test.sh $(TESTFLAGS) $(PATTERNS)

.PHONY: alerts
alerts: ## Check the rules for Prometheus, and test what they say when something dies
	@promtool=$$(./scripts/promtool.sh) && \
	$$promtool check config --syntax-only deploy/prometheus/prometheus.yml && \
	$$promtool check rules deploy/prometheus/alerts.yml && \
	$$promtool test rules deploy/prometheus/tests.yml

.PHONY: redis-server
redis-server: ## Find a redis-server for the tests, or install one (root, apt-get)
	@./scripts/redis-server.sh

SEED     ?= 1
DURATION ?= 30s
WORKERS  ?= 4
TOPOLOGY ?= alone

.PHONY: chaos
chaos: redis-server ## Break everything at random under load, and check that nothing is lost
	@$(GO) run ./internal/chaos/run -seed $(SEED) -duration $(DURATION) -workers $(WORKERS) -topology $(TOPOLOGY) $(CHAOSFLAGS)

.PHONY: mutations
mutations: redis-server ## Plant bugs in distpool, and see that chaos finds each
	DISTPOOL_MUTATIONS=1 $(GO) test -count=1 -run PlantedBugs ./internal/chaos
.PHONY: test-topologies
test-topologies: redis-server ## Run the behavioural suite on a Cluster and with Sentinel, and the long tests of faults
	@DISTPOOL_E2E_REDIS=cluster,sentinel DISTPOOL_E2E_LONG=1 ./scripts/test.sh $(TESTFLAGS) ./internal/e2e

.PHONY: test-modules
test-modules: ## Build programs of users against the modules as a release publishes them
	@DISTPOOL_MODULE_PROXY=1 $(GO) test -count=1 -timeout=30m -v $(TESTFLAGS) ./internal/release

.PHONY: docs
docs: ## Write docs/cli.md, from the help of the commands
	$(GO) test -count=1 -run DocumentationIsThatOfTheCommands ./internal/cli -args -update

.PHONY: lint
lint: format-check tidy-check vet staticcheck revive ## Check format and go.mod files, and run vet and the linters

.PHONY: format
format: ## Format the Go files
	gofmt -w .

.PHONY: format-check
format-check:
	@files=$$(gofmt -l .) || exit 1; \
	if [ -n "$$files" ]; then echo "not formatted (make format does it):"; echo "$$files"; exit 1; fi

.PHONY: tidy
tidy: ## Tidy the go.mod of every module
	@./scripts/modules.sh tidy

.PHONY: tidy-check
tidy-check:
	@./scripts/modules.sh check-tidy

.PHONY: vet
vet:
	$(GO) vet $(PATTERNS)

.PHONY: staticcheck
staticcheck:
	$(GO) run $(STATICCHECK) $(PATTERNS)

.PHONY: revive
revive:
	$(GO) run $(REVIVE) -config revive.toml -formatter friendly -set_exit_status $(PATTERNS)

.PHONY: bench
bench: ## Build bin/bench, which measures distpool and its peers
	$(GOBUILD) -o bin/bench ./bench

.PHONY: bench-compare
bench-compare: bench redis-server ## Measure all, side by side, and write docs/benchmarks.md
	bin/bench compare -n $(N) -rounds $(ROUNDS) -for $(FOR) -only '$(ONLY)' -out docs/benchmarks.md

.PHONY: bench-watch
bench-watch: bench redis-server ## Measure what the monitor costs, and how fast its pages answer
	bin/bench watch

.PHONY: bench-growth
bench-growth: bench redis-server ## Measure what grows with time, workers, waiting calls and chunks; and the scripts
	bin/bench growth
	$(GO) test -run '^$$' -bench Scripts -benchtime 20x ./internal/job

# The workloads that take long by themselves (many workers, idle ones) are left to
# bench-compare.
BRIEFLY := ^(W1:|W2|W3: a call when all is idle |W4|W5|W6: stream|W8|W10|W12).*(distpool|asynq-tuned|python-pool|floor)$$

.PHONY: bench-check
bench-check: bench redis-server ## Run the workloads briefly, and check all values
	@bin/bench compare -n 200 -rounds 1 -for 1s -only '$(BRIEFLY)' >/dev/null

.PHONY: examples
examples: ## Vet, build and run every program under examples/
	@./scripts/examples.sh

.PHONY: up
up: ## Start Redis, workers, a producer, the monitor and Prometheus with docker compose
	@./scripts/token.sh
	docker compose up -d --build
	@echo 'monitor: http://127.0.0.1:8500, token in .env   Prometheus: http://127.0.0.1:9090'
	@echo 'results: docker compose logs producer   more workers: docker compose up -d --scale worker=4'

.PHONY: down
down: ## Stop what up started, and delete its data
	docker compose down -v

.PHONY: deps
deps: ## Download the modules
	$(GO) mod download

.PHONY: clean
clean: ## Delete what the other targets built
	rm -rf bin
