"""Serves a GGUF file with llama.cpp's HTTP server, until it is ended: a script, its options as JSON.

Imports nothing of ours: what it takes of time and memory is llama.cpp's.
"""

import json
import signal
import sys

import xllamacpp


def main(options: str) -> None:
    """``{"model": PATH, "port": N, "threads": N, "slots": N, "context": N, "folder": PATH}``"""
    asked = json.loads(options)
    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = asked["model"], {"model"}
    params.hostnames, params.port = ["127.0.0.1"], asked["port"]
    params.n_parallel, params.n_ctx = asked["slots"], asked["context"]
    params.kv_unified = True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = asked["threads"]
    params.cache_ram_mib = 0  # no prompt outlives its request but in its slot ...
    params.slot_save_path = asked["folder"]  # ... and may be erased there, which this switches on
    params.endpoint_metrics = True  # how many requests run and wait
    params.fit_params = params.ui = False
    server = xllamacpp.Server(params)
    print("listening at", server.listening_address, flush=True)
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main(sys.argv[1])
