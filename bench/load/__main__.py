"""Reads what to do from standard input, does it, and writes what it came to, both as JSON."""

import asyncio
import os
import sys
import time
from typing import Any

import orjson
import uvloop

from bench.load.requests import Loop
from bench.load.streams import Reading


async def _run(spec: dict[str, Any]) -> dict[str, Any]:
    began_at = time.process_time()
    kinds: dict[str, type[Loop | Reading]] = {"requests": Loop, "streams": Reading}
    kind = kinds[spec.pop("kind")]
    spec["payloads"] = [payload.encode("latin-1") for payload in spec["payloads"]]
    load = kind(**spec)
    # One by one: where hundreds come together, a server may turn some away.
    for _ in range(load.connections):
        await asyncio.get_running_loop().create_connection(load.connection, "127.0.0.1", load.port)
    await load.over
    return load.figures() | {"cpu_s": time.process_time() - began_at}


def main() -> None:
    """One run."""
    figures = uvloop.run(_run(orjson.loads(sys.stdin.buffer.read())))
    figures["latencies_ms"].sort()
    # Where the loop has left the pipe without blocking, what does not fit into it at once is lost.
    os.set_blocking(sys.stdout.fileno(), True)
    sys.stdout.buffer.write(orjson.dumps(figures))
    sys.stdout.buffer.flush()


main()
