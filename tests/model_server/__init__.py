"""A real HTTP model server for tests, which follows the script in each request, and a handle to control the server."""

import json
import os
import select
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.model_server.script import check_fields

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_S = 30.0
DIRECT_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StartError(RuntimeError):
    """The process of the model server ended before it accepted connections, or did not accept connections in time."""


class ModelServer:
    """A handle of a model server process: starts and kills the process, and reads its records."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise StartError("the model server was killed")
        return self._process.pid

    @staticmethod
    def script(**fields: Any) -> str:
        """Return the text for the last user message of a request, which makes the server follow this script."""
        return json.dumps(check_fields(fields))

    def stats(self, tag: str | None = None) -> dict[str, Any]:
        """Return the counts of requests, and the records of the requests with this tag, or of all requests if None."""
        query = "" if tag is None else "?" + urllib.parse.urlencode({"tag": tag})
        return self._request("GET", f"/stats{query}")

    @property
    def open_request_count(self) -> int:
        """The number of active requests."""
        return int(self.stats("-")["open"])  # an unused tag, so that the report contains no bodies

    def reset(self) -> None:
        """Clear the records; `open_request_count` still includes the active requests."""
        self._request("POST", "/reset")

    def kill(self) -> None:
        """Kill the process and wait until it has exited; do nothing if it is not running."""
        if self._process is not None:
            self._process.kill()
            with self._process:
                self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill the process if it is running, and start a process without records on the same port."""
        self.kill()
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-m", "tests.model_server", "--with-parent", "--port", str(self.port)]
        pipe = subprocess.PIPE
        # In a separate session, the process does not receive Ctrl-C, because the tests must stop it.
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, start_new_session=True)
        try:
            self.port = int(self._read_first_line().rpartition(":")[2])
            self._request("GET", "/health")
        except BaseException:
            self.kill()
            raise

    def _read_first_line(self) -> str:
        deadline = time.monotonic() + START_TIMEOUT_S
        pipe = self._process.stdout.fileno()
        output = b""
        while not output.endswith(b"\n"):
            readable, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(pipe, 4096) if readable else b""
            if not chunk:
                raise StartError(f"the model server printed only {output!r}")
            output += chunk
        return output.decode().strip()

    def _request(self, method: str, path: str) -> dict[str, Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        with DIRECT_OPENER.open(request, timeout=REQUEST_TIMEOUT_S) as reply:
            return json.load(reply)


@contextmanager
def running(port: int = 0) -> Iterator[ModelServer]:
    """Run a model server on this port (0: any free port) inside the block."""
    server = ModelServer(port)
    try:
        yield server
    finally:
        server.kill()
