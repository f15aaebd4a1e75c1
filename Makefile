# `make help` lists what can be done. Every target sets up what it needs first.

VENV := .venv
BIN := $(VENV)/bin
# The first Python 3.11 or 3.12 on the path; set PYTHON=... to choose another.
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)

PROFILE ?= lite
DATA ?= data/kodak
ANCHORS ?=
OUT ?= out
OPTIONS ?=

.DEFAULT_GOAL := help
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*/\1/p' $(MAKEFILE_LIST))

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(VENV)/.installed ## virtual environment with what the service needs
setup-dev: $(VENV)/.installed-dev ## the same and the tools for testing

viewer: ## fetch OpenSeadragon, with which the page zooms, from npm (the image has it)
	docker/viewer.sh service/static/vendor/openseadragon

serve: setup ## serve on http://localhost:8000 (settings: COMPASS_* variables)
	$(BIN)/compass serve $(OPTIONS)

test: setup-dev ## all tests, fast ones first (OPTIONS="-m 'not slow'" for those alone)
	$(BIN)/python -m pytest $(OPTIONS)

fuzz: setup-dev ## hostile streams, uploads and requests (OPTIONS="--minutes 5 --only uploads")
	$(BIN)/python -W ignore -m tests.fuzz $(OPTIONS)

soak: setup-dev ## mixed load while everything fails around it (OPTIONS="--minutes 10")
	$(BIN)/python -W ignore -m tests.soak $(OPTIONS)

soak-site: setup-dev ## a cluster behind nginx whose parts are killed (needs requirements-ray.txt and nginx)
	$(BIN)/python -W ignore -m tests.soak.site $(OPTIONS)

lint: setup-dev ## ruff, mypy and what may import what
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup-dev ## write docs/modules.md, and the tables of docs/figures/ into the pages, anew
	$(BIN)/python docs/modules.py > docs/modules.md
	$(BIN)/python docs/figures.py

format: setup-dev ## let ruff rewrite the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Benchmarks get PROFILE, DATA (a folder of PNGs, or of training photographs) and OUT if they have a use for them, and
# all get OPTIONS, such as OPTIONS=--help, which tells what each takes.
figures: setup-dev ## all tables of rate and distortion of a profile, into docs/figures/ (ANCHORS: a folder of published curves)
	$(BIN)/python -m benchmarks.quality.figures --data $(DATA) --profile $(PROFILE) --out $(OUT)/figures $(if $(ANCHORS),--anchors $(ANCHORS)) $(OPTIONS)

bench-rd: setup-dev ## rate-distortion and BD-rate (ANCHORS: a folder of published curves)
	$(BIN)/python -m benchmarks.quality.rd --data $(DATA) --profile $(PROFILE) --out $(OUT)/rd $(if $(ANCHORS),--anchors $(ANCHORS)) $(OPTIONS)

bench-layers: setup-dev ## rate and PSNR of every layer
	$(BIN)/python -m benchmarks.quality.layers --data $(DATA) --profile $(PROFILE) --out $(OUT)/layers $(OPTIONS)

bench-scalable: setup-dev ## several layers against one and against simulcast (ANCHORS as above)
	$(BIN)/python -m benchmarks.quality.scalable --data $(DATA) --profile $(PROFILE) --out $(OUT)/scalable $(if $(ANCHORS),--anchors $(ANCHORS)) $(OPTIONS)

bench-priors: setup-dev ## what the integer priors cost
	$(BIN)/python -m benchmarks.quality.priors --data $(DATA) --profile $(PROFILE) --out $(OUT)/priors $(OPTIONS)

bench-drift: setup-dev ## how far bfloat16 is from float32 (DATA: photographs that training holds out)
	$(BIN)/python -m benchmarks.quality.drift --data $(DATA) --profile $(PROFILE) --out $(OUT)/drift $(OPTIONS)

bench-refinement: setup-dev ## what searching for latents saves (OPTIONS="--efforts fast")
	$(BIN)/python -m benchmarks.quality.refinement --data $(DATA) --profile $(PROFILE) --out $(OUT)/refinement $(OPTIONS)

bench-candidates: setup-dev ## weight files side by side, held-out photographs (OPTIONS="OLD.safetensors NEW.safetensors")
	$(BIN)/python -m benchmarks.quality.candidates --data $(DATA) --out $(OUT)/candidates $(OPTIONS)

bench-training: setup-dev ## recipes of training side by side (DATA: photographs, OPTIONS="--minutes 4")
	$(BIN)/python -m benchmarks.quality.training --data $(DATA) --profile $(PROFILE) --out $(OUT)/training $(OPTIONS)

bench-ablations: setup-dev ## the method without one of its parts (PHOTOS: to train with, OPTIONS="--minutes 9")
	$(BIN)/python -m benchmarks.quality.ablations --data $(DATA) --photos $(PHOTOS) --profile $(PROFILE) --out $(OUT)/ablations $(OPTIONS)

bench-encoders: setup-dev ## other encoders and settings for answers
	$(BIN)/python -m benchmarks.quality.encoders --data $(DATA) --profile $(PROFILE) --out $(OUT)/encoders $(OPTIONS)

bench-answers: setup-dev ## bytes of default answers beside files of the original
	$(BIN)/python -m benchmarks.quality.answers --data $(DATA) --profile $(PROFILE) --out $(OUT)/answers $(OPTIONS)

bench-drawings: setup-dev ## what pictures that are no photographs are kept as
	$(BIN)/python -m benchmarks.quality.drawings $(if $(filter file,$(origin DATA)),,--data $(DATA)) --profile $(PROFILE) --out $(OUT)/drawings $(OPTIONS)

bench-focus: setup-dev ## what focus=auto is worth (DATA: photographs that are marked)
	$(BIN)/python -m benchmarks.quality.focus --data $(DATA) --out $(OUT)/focus $(OPTIONS)

crops: setup-dev ## crops beside AVIF and JPEG for docs/images (DATA: Kodak)
	$(BIN)/python -m benchmarks.quality.crops --data $(DATA) --profile $(PROFILE) --tables $(OUT)/crops $(OPTIONS)

bench-codec: setup-dev ## seconds of each stage of coding
	THP_MEM_ALLOC_ENABLE=1 $(BIN)/python -m benchmarks.speed.codec --data $(DATA) $(if $(filter file,$(origin PROFILE)),,--profile $(PROFILE)) $(OPTIONS)

bench-entropy: setup-dev ## the entropy coder beside others
	$(BIN)/python -m benchmarks.speed.entropy $(if $(wildcard $(DATA)),--data $(DATA)) --profile $(PROFILE) $(OPTIONS)

bench-capacity: setup-dev ## bytes and CPU seconds for a million pictures
	$(BIN)/python -m benchmarks.speed.capacity --data $(DATA) --profile $(PROFILE) $(OPTIONS)

bench-memory: setup-dev ## memory for a million pictures, with and without the cold tier
	$(BIN)/python -m benchmarks.speed.memory $(OPTIONS)

bench-batches: setup-dev ## what batches bring on a GPU
	$(BIN)/python -m benchmarks.speed.batches --data $(DATA) --profile $(PROFILE) --out $(OUT)/batches $(OPTIONS)

bench-scaling: setup-dev ## what the service adds to the codec, and a second worker brings
	$(BIN)/python -m benchmarks.load.scaling --data $(DATA) --profile $(PROFILE) --out $(OUT)/scaling $(OPTIONS)

bench-http: setup-dev ## what HTTP costs: answers from memory beside a bare route and nginx
	$(BIN)/python -m benchmarks.load.http --profile $(PROFILE) --out $(OUT)/http $(OPTIONS)

bench-serve: setup-dev ## a service under load
	$(BIN)/python -m benchmarks.load.serve --data $(DATA) --profile $(PROFILE) --out $(OUT)/serve $(OPTIONS)

bench-engines: setup-dev ## what a Ray cluster adds to an answer (needs requirements-ray.txt)
	$(BIN)/python -m benchmarks.load.engines --data $(DATA) --profile $(PROFILE) --out $(OUT)/engines $(OPTIONS)

bench-nodes: setup-dev ## a cluster of two nodes against one (needs Ray)
	$(BIN)/python -m benchmarks.load.nodes --data $(DATA) --profile $(PROFILE) --out $(OUT)/nodes $(OPTIONS)

bench-refining: setup-dev ## whether readings notice that pictures are refined
	$(BIN)/python -m benchmarks.load.refining --data $(DATA) --profile $(PROFILE) --out $(OUT)/refining $(OPTIONS)

bench-large: setup-dev ## one worker and pictures of 12 megapixels: seconds and memory
	$(BIN)/python -m benchmarks.load.large --data $(DATA) --profile $(PROFILE) --out $(OUT)/large $(OPTIONS)

bench-listing: setup-dev ## a page of the listing, however long it is (OPTIONS="--entries 10000000")
	$(BIN)/python -m benchmarks.load.listing --out $(OUT)/listing $(OPTIONS)

bench-scale: setup-dev ## what a site of a size needs, and what gives way first (simulated)
	$(BIN)/python -m benchmarks.load.scale --out $(OUT)/scale $(OPTIONS)

openapi: setup-dev ## rewrite tests/service/openapi.json, when the HTTP API is meant to change
	$(BIN)/python -m tests.service.write_openapi

lock: setup-dev ## resolve the dependencies into requirements*.txt (OPTIONS=--upgrade: the newest)
	$(COMPILE) $(OPTIONS) pyproject.toml -o requirements.txt
	$(COMPILE) $(OPTIONS) --extra dev --extra heic --extra browser -c requirements.txt pyproject.toml -o requirements-dev.txt
	$(COMPILE) $(OPTIONS) --extra ray -c requirements.txt -c requirements-dev.txt pyproject.toml -o requirements-ray.txt

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info

COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url --generate-hashes -q -c constraints.txt
# uv installs many times faster than pip; pip does it where uv cannot be had.
INSTALL = uv=$$(command -v $(BIN)/uv || command -v uv) && "$$uv" pip install --python $(BIN)/python $(1) || \
	$(BIN)/python -m pip install $(1)

# Debian's Python may lack ensurepip; then the system's pip fills the environment.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(PYTHON) -m pip --version >/dev/null 2>&1 || \
		{ echo "$(PYTHON) cannot install anything: apt-get install python3-venv"; exit 1; }
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv $(VENV); \
	else $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install -q pip; fi || \
		{ rm -rf $(VENV); exit 1; }
	@$(BIN)/python -m pip install -q uv || echo "no uv: pip goes on alone"

$(VENV)/.installed: requirements.txt pyproject.toml | $(BIN)/python
	$(call INSTALL,--require-hashes -r requirements.txt)
	$(call INSTALL,--no-deps --no-build-isolation -e .)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(call INSTALL,--require-hashes -r requirements-dev.txt)
	@touch $@
