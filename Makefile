# The everyday commands. Each is a script in dev/ or one line of swift.
.DEFAULT_GOAL := help
.PHONY: help install run simulate-nodes build test test-tsan test-page test-dashboard test-clients test-api \
	test-deploy test-prometheus test-faults conformance fuzz measure-edge measure-figures measure-drain bench \
	bench-sweep bench-micro bench-docs lint format check clean

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s  %s\n", $$1, $$2 }'
	@echo
	@echo "  NODES=3 PORT=9000 make run   variables of make run: NODES PORT NODE_PORT ADMIN_PORT REDIS_PORT"
	@echo "  make test FILTER=RoomTable   only the tests whose names match"
	@echo "  make bench ONLY=fan,echo16   only these workloads (dev/bench --list); QUICK=1, RUNS=5, SAVE=NAME"

install: ## Install what is missing to build and run (make run and make test do it themselves)
	@dev/install

run: ## Build, then run a cluster: Redis, NODES nodes (2), HAProxy on PORT (8000); Ctrl-C ends it
	@exec dev/run

simulate-nodes: ## Write NODES (50) simulated nodes into the Redis on REDIS_PORT (6390), for conduit top; Ctrl-C ends it
	@exec dev/simulate-nodes --port $(or $(REDIS_PORT),6390) $(or $(NODES),50)

build: install ## Build everything, with debug information
	swift build --build-tests

# Each test starts servers of its own; more of them at a time than this only wait for each other on a small machine.
test: export SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH ?= 4
test: install ## Build and run every test; they start their own Redis servers
	swift test $(if $(FILTER),--filter '$(FILTER)')

# A build of its own (about 10 minutes the first time), so that it doesn't undo the other one.
# The suites run one after the other: each gets the machine, and says for itself whether it passed.
TSAN_SUITES ?= ConduitHubTests ConduitGatewayTests PollingTests EmbeddingTests ServeTests ConduitClusterTests \
	ConduitRedisTests ConduitBenchTests ConduitAdminTests ConduitTelemetryTests FaultTests DrainTests RebalanceTests \
	ReloadTests TracingTests RepeatedLogTests ClusterAPITests NodeFigureTests UsersAcrossNodesTests TailTests TopTests
test-tsan: export SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH ?= 4
test-tsan: install ## Build with the thread sanitizer and run the tests of what is concurrent (FILTER= chooses)
	dev/test-tsan $(or $(FILTER),$(TSAN_SUITES))

test-page: ## Run a cluster and test the example page on it in headless Chromium
	@dev/install --ci
	@dev/with-cluster --keep-going -- dev/test-page

test-dashboard: ## Test the dashboard of the program that was built last in headless Chromium, on clusters of its own
	@dev/install --ci
	@dev/test-dashboard

test-clients: ## Test the program that was built last with clients in Go (gorilla/websocket) and Python
	@dev/test-clients

test-deploy: ## Try the files in deploy/ with the program that was built last: Kubernetes, balancers, systemd (ONLY= chooses)
	@dev/install --ci
	@dev/test-deploy $(if $(ONLY),--only '$(ONLY)')

test-api: ## Judge the admin API of two nodes by its own OpenAPI document, with schemathesis (EXAMPLES= a request)
	@dev/test-api

test-faults: ## Run every fault test, minutes, and show the tables of figures (FAULTS= chooses; dev/test-faults --help)
	@dev/test-faults

conformance: install ## Judge the WebSocket protocol by the Autobahn testsuite (minutes; needs a Python 2.7, ONLY= chooses cases)
	@dev/conformance $(ONLY)

fuzz: install ## Fuzz the readers of foreign bytes, each for TIME seconds (60), side by side
	@dev/fuzz $(TIME)

measure-edge: install ## Measure what broken clients cost the others, with a release build (minutes)
	swift build -c release --product conduit
	@dev/measure-edge

test-prometheus: ## Run a real Prometheus on a real cluster: metrics, alert rules, the Grafana dashboard (a minute)
	@dev/install --ci
	@dev/test-prometheus

measure-figures: install ## Measure what heartbeats and scrapes cost with 10,000 clients, with a release build (minutes)
	swift build -c release --product conduit
	@dev/measure-figures

measure-drain: install ## Measure a rolling restart, a drain and a node that joins, with a release build (minutes)
	swift build -c release --product conduit
	@dev/measure-drain

bench: install ## Measure the node side by side with a yardstick in C (minutes); Docs/performance.md explains
	@ONLY='$(ONLY)' QUICK='$(QUICK)' RUNS='$(RUNS)' dev/bench $(if $(SAVE),--save '$(SAVE)')

bench-sweep: install ## Measure how cost grows with members, bytes, rooms and nodes
	@ONLY='$(ONLY)' QUICK='$(QUICK)' RUNS='$(RUNS)' dev/bench --sweep $(if $(SAVE),--save '$(SAVE)')

# The scratch path is shared with the release build, so that only the benchmarks themselves are compiled.
# SwiftPM does not look for new files of a package that is only depended on, unless it has to plan the build.
bench-micro: install ## Measure single steps of a message: time and allocations of each
	@rm -f .build/release.yaml
	swift build -c release --package-path Benchmarks --scratch-path .build --product ConduitMicro
	@mkdir -p Benchmarks/results
	@.build/release/ConduitMicro $(if $(ONLY),--only '$(ONLY)') --json Benchmarks/results/$(or $(SAVE),latest-micro).json

bench-docs: ## Put the results of Benchmarks/results into Docs/performance.md and draw its plots
	@dev/bench --update-docs $(wildcard $(foreach name,side-by-side sweep micro,Benchmarks/results/$(name).json))
	@dev/plot-bench

lint: ## Format check, import directions, scripts, balancer configurations
	@dev/lint

format: ## Format all Swift files in place
	swift format --in-place --parallel --recursive Sources Tests Examples Benchmarks/Sources \
		Package.swift Benchmarks/Package.swift

check: lint test ## lint and test

clean: ## Remove what was built
	swift package clean
	$(MAKE) -C Benchmarks/Yardstick clean
