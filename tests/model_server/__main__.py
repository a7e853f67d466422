"""Runs the scripted model server: `python -m tests.model_server --port PORT` (0: any free port)."""

import argparse
import asyncio
import errno
import os
import resource
import sys
import time
from contextlib import suppress

from tests.model_server.responses_api import ResponsesReply
from tests.model_server.server import serve

try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop


# After a restart, an outgoing connection of a client may briefly occupy the port.
BIND_TIMEOUT_S = 3.0


async def listen(port: int) -> int:
    """Listen on the port (0: any free port), and return it; exit if it is still in use after `BIND_TIMEOUT_S`."""
    deadline = time.monotonic() + BIND_TIMEOUT_S
    while True:
        try:
            return await serve(port, ResponsesReply)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                sys.exit(f"model server: {error}")
            await asyncio.sleep(0.05)


async def serve_until_stopped(port: int, *, with_parent: bool) -> None:
    """Serve requests, until standard input closes if `with_parent` is set, and until a signal otherwise."""
    bound_port = await listen(port)
    print(f"listening on http://127.0.0.1:{bound_port}", flush=True)
    if with_parent:
        await asyncio.to_thread(sys.stdin.read)
        os._exit(0)  # this truncates the replies of active requests
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.model_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--with-parent", action="store_true", help="stop when standard input closes")
    arguments = parser.parse_args()
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve_until_stopped(arguments.port, with_parent=arguments.with_parent))


if __name__ == "__main__":
    main()
