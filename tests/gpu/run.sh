#!/usr/bin/env bash
# All that only a GPU can show, on one card: what takes moments first, then each technique. Leaves build/gpu/table.md, of
# what was reached in 12 minutes. First `make setup`.
set -uo pipefail
cd "$(dirname "$0")/../.."
rm -rf build/gpu && mkdir -p build/gpu
export HF_HUB_OFFLINE=1
first='counter or graphs or sparse or tokens_on_cuda or kernel or load_has'
number=0 failed=0
for part in "$first" "not ($first)"; do
    number=$((number + 1))
    timeout --signal=INT $((SECONDS < 715 ? 720 - SECONDS : 5)) .venv/bin/python -m pytest -q -n 0 -m gpu -k "$part" \
        --junitxml=build/gpu/$number.xml tests || failed=1
done
.venv/bin/python tests/gpu/table.py build/gpu/*.xml | tee build/gpu/table.md
exit $failed
