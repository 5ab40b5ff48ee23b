#!/usr/bin/env bash
# All that only a GPU can show, on one card, what tells most first. Ends in so many seconds as its first argument says (720);
# a test may take so many as its second says (180). build/gpu/table.md is written anew with each test, whatever hangs or cuts
# them. First `make setup`.
set -uo pipefail
cd "$(dirname "$0")/../.."
limit=${1:-720} each=${2:-180}
grace=$((limit / 40 + 1))
rm -rf build/gpu && mkdir -p build/gpu
export HF_HUB_OFFLINE=1 PYTHONPATH=tests/gpu
mapfile -t files < <(grep -rlE --include='test_*.py' 'mark\.gpu\b' tests | sort)
timeout --kill-after=$grace $((limit / 10 + 1)) .venv/bin/python tests/gpu/table.py device >build/gpu/device.txt
known=none
while ((left = limit - 2 * grace - SECONDS, left > 0)) && [[ $known != "$(cksum build/gpu/state.json 2>&1)" ]]; do
    known=$(cksum build/gpu/state.json 2>&1)
    # What hangs in CUDA hears no signal: a thread ends the process then, and another goes on behind that test. The log is a
    # file, not a pipe that an orphan may keep open.
    timeout --signal=INT --kill-after=$grace $left .venv/bin/python -m pytest -v -n 0 -m gpu -p table --timeout=$each \
        --timeout-method=thread --continue-on-collection-errors "${files[@]}" >>build/gpu/log 2>&1 &
    wait $!
    kill -KILL -- -$! 2>/dev/null # what it has left running
    grep -q '| not reached |' build/gpu/table.md || break
done
.venv/bin/python tests/gpu/table.py
