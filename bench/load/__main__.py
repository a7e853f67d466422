"""The load generator process: reads loads from standard input and writes their figures, both as JSON Lines."""

import asyncio
import os
import sys
import time
from typing import Any

import orjson
import uvloop

from bench.load.mix_runner import MixRunner
from bench.load.requests import RequestRunner
from bench.load.streams import StreamRunner


async def _run_load(spec: dict[str, Any]) -> dict[str, Any]:
    began_at = time.process_time()
    kind = spec.pop("kind")
    figures = await MixRunner(**spec).run() if kind == "mix" else await _run_connections(kind, spec)
    return figures | {"cpu_s": time.process_time() - began_at}


async def _run_connections(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    runners: dict[str, type[RequestRunner | StreamRunner]] = {"requests": RequestRunner, "streams": StreamRunner}
    spec["payloads"] = [payload.encode("latin-1") for payload in spec["payloads"]]
    runner = runners[kind](**spec)
    # Open the connections one by one: a server may reject connections if hundreds arrive simultaneously.
    for _ in range(runner.connections):
        await asyncio.get_running_loop().create_connection(runner.create_connection, "127.0.0.1", runner.port)
    await runner.finished
    figures = runner.figures()
    figures["latencies_ms"].sort()
    return figures


def main() -> None:
    """Run one load per line of standard input, until end of file."""
    for line in sys.stdin.buffer:
        figures = uvloop.run(_run_load(orjson.loads(line)))
        # The event loop may leave the pipe in non-blocking mode, in which output beyond its capacity would be lost.
        os.set_blocking(sys.stdout.fileno(), True)
        sys.stdout.buffer.write(orjson.dumps(figures) + b"\n")
        sys.stdout.buffer.flush()


main()
