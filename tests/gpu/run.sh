#!/usr/bin/env bash
# All that only a GPU can show, on one card: what takes moments first, then each technique. Ends in so many seconds as its
# argument says (720), and leaves build/gpu/table.md of what was reached, whatever hangs. First `make setup`.
set -uo pipefail
cd "$(dirname "$0")/../.."
limit=${1:-720}
end=$((limit * 9 / 10)) grace=$((limit / 40 + 1)) # the rest is for the table
rm -rf build/gpu && mkdir -p build/gpu
export HF_HUB_OFFLINE=1
first='counter or graphs or sparse or tokens_on_cuda or kernel or load_has'
number=0 failed=0
timeout --kill-after=$grace $((limit / 10 + 1)) .venv/bin/python tests/gpu/table.py device >build/gpu/device.txt
for part in "$first" "not ($first)"; do
    number=$((number + 1)) left=$((end - SECONDS))
    ((left > 0)) || { failed=1 && break; }
    # What hangs in CUDA hears no SIGINT and writes no XML: the log tells then how far it came, so it is a file, not a pipe
    # that an orphan may keep open.
    timeout --signal=INT --kill-after=$grace $left .venv/bin/python -m pytest -v -n 0 -m gpu -k "$part" \
        --junitxml=build/gpu/$number.xml tests >build/gpu/$number.log 2>&1 || failed=1
    tail -n 40 build/gpu/$number.log
done
.venv/bin/python tests/gpu/table.py build/gpu | tee build/gpu/table.md
exit $failed
