PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
NEEDS := pyproject.toml constraints.txt
# A file's tests share servers and models, and its neighbours in a folder may share more: files go out in order.
SPREAD := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
TOO_OLD := Dropserve needs Python 3.11 or newer; name one, such as: make serve PYTHON=python3.12

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve train test lint lowest format proto bench reproduce behaviour abuse soak clients sbom audit pin clean

help: ## List these targets
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo 'Options go in ARGS: make train ARGS="--epochs 5 --hidden 64,64"'

serve: $(VENV)/.serving ## Serve models/ on http://127.0.0.1:8000 (DROPSERVE_PORT and others: docs/settings.md)
	@exec $(BIN)/dropserve serve $(ARGS)

train: $(VENV)/.training ## Train a network on handwritten digits and publish it in models/
	@$(BIN)/dropserve train $(ARGS)

test: $(VENV)/.test ## Run all tests; those of the container need Docker, or say that they were skipped
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPREAD) $(ARGS)

lint: $(VENV)/.test ## Check style, types, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

lowest: ## Serve with the lowest version of each package that pyproject.toml allows: build/lowest
	@$(PYTHON) -m venv --clear build/lowest
	@build/lowest/bin/pip install --quiet --disable-pip-version-check uv
	@build/lowest/bin/uv pip install --quiet --python build/lowest/bin/python --only-binary :all: \
	  --resolution lowest-direct -r pyproject.toml --extra grpc
	@build/lowest/bin/uv pip install --quiet --python build/lowest/bin/python pytest pytest-timeout httpx hypothesis onnx
	@build/lowest/bin/python -m tools.lowest
	@build/lowest/bin/python -m pytest -q -W default tests/service/http/test_uvicorn_contract.py

format: $(VENV)/.test ## Put the code into the project's style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

proto: $(VENV)/.test ## Generate the messages of the gRPC protocol from service/oip/proto
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. service/oip/proto/open_inference.proto

bench: $(VENV)/.bench ## Measure beside every peer, an hour or more; needs wrk. Or one: ARGS="serving --help"
ifeq ($(strip $(ARGS)),)
	@$(BIN)/python -m benchmarks.serving
	@$(BIN)/python -m benchmarks.sampling
	@$(BIN)/python -m benchmarks.growth
	@$(BIN)/python -m benchmarks.training
	@$(BIN)/python -m benchmarks.prediction_log
	@$(BIN)/python -m benchmarks.scaling
else
	@$(BIN)/python -m benchmarks.$(ARGS)
endif

reproduce: $(VENV)/.bench ## Run published experiments again: ARGS="uci --data DIR" or ARGS="mnist --data FILE"
	@$(BIN)/python -m benchmarks.reproduce $(ARGS)

behaviour: $(VENV)/.training ## Measure what dropout does, with and without it: build/behaviour/behaviour.html
	@$(BIN)/dropserve behaviour $(ARGS)

abuse: $(VENV)/.test ## A million damaged and hostile inputs, a quarter of an hour: build/abuse.json
	@$(BIN)/python -W ignore -m tools.abuse.run --output build/abuse.json $(ARGS)

soak: $(VENV)/.test ## Try the service under faults and load, most of an hour: ARGS="--minutes 10"
	@$(BIN)/python -m tools.soak.run $(ARGS)

clients: $(VENV)/.test ## Lint the API's description, generate clients and run them (needs npm): build/clients
	@mkdir -p build/clients && cp tests/e2e/clients/package.json build/clients
	@npm install --prefix build/clients --silent --no-audit --no-fund
	@$(PYTHON) -m venv build/clients/python
	@build/clients/python/bin/pip install --quiet --disable-pip-version-check -r tests/e2e/clients/requirements.txt
	OPENAPI_PYTHON_CLIENT=$(CURDIR)/build/clients/python/bin/openapi-python-client \
	CLIENTS_NODE=$(CURDIR)/build/clients $(BIN)/python -m pytest tests/e2e/test_clients.py $(ARGS)

sbom: ## What the serving image contains, with licences: build/sbom (needs Docker)
	docker build --target sbom --output build/sbom .

audit: $(VENV)/.test ## Known weaknesses of all packages (needs PyPI itself)
	$(BIN)/pip-audit --disable-pip --no-deps -r constraints.txt

pin: ## Renew constraints.txt with the newest versions that pyproject.toml allows; torch stays
	sed '/^[^#]/d' constraints.txt > constraints.new
	$(PYTHON) -m venv --clear $(VENV)/pin
	$(VENV)/pin/bin/pip install --quiet "$$(grep ^torch== constraints.txt)" -e '.[test,docs]'
	$(VENV)/pin/bin/pip freeze --all --exclude pip --exclude dropserve | sed 's/+.*//' >> constraints.new
	mv constraints.new constraints.txt
	rm -r $(VENV)/pin

clean: ## Remove the virtual environment and what tools left
	rm -rf $(VENV) *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# A stamp a set of packages: while it is newer than what asks for them, nothing is installed.
$(VENV)/.serving: $(NEEDS)
	$(call install,.)
	@touch $@

$(VENV)/.training: $(NEEDS)
	$(call install,.[training])
	@touch $(VENV)/.serving $@

$(VENV)/.bench: $(NEEDS)
	$(call install,.[bench])
	@touch $(VENV)/.serving $(VENV)/.training $@

$(VENV)/.test: $(NEEDS)
	$(call install,.[test])
	@touch $(VENV)/.serving $(VENV)/.training $@

define install
@$(PYTHON) -c 'import sys; sys.exit("$(TOO_OLD)" if sys.version_info < (3, 11) else 0)'
@$(PYTHON) -m venv $(VENV)
@echo 'Installing packages into $(VENV) ...'
@$(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --editable '$(1)'
endef
