"""A real HTTP model server for tests, scripted by the requests it receives, and a handle to control it."""

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

from tests.model_server.script import checked

ROOT = Path(__file__).resolve().parents[2]
START_WITHIN_S = 30.0
ANSWER_WITHIN_S = 30.0
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NotStarted(RuntimeError):
    """The model server's process exited or printed nothing before it listened."""


class ModelServer:
    """A running model server: its address, its records, and its lifecycle."""

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
            raise NotStarted("the model server was killed")
        return self._process.pid

    @staticmethod
    def script(**fields: Any) -> str:
        """The text that makes the server follow this script when sent as the last user message."""
        return json.dumps(checked(fields))

    def stats(self, tag: str | None = None) -> dict[str, Any]:
        query = "" if tag is None else "?" + urllib.parse.urlencode({"tag": tag})
        return self._ask("GET", f"/stats{query}")

    @property
    def open(self) -> int:
        """The number of requests in progress."""
        return int(self.stats("-")["open"])  # an unused tag, so that the report contains no bodies

    def reset(self) -> None:
        """Clear the records; requests in progress still count in `open`."""
        self._ask("POST", "/reset")

    def kill(self) -> None:
        """Kill the process as a crash would, and wait until it has exited; no-op if it is not running."""
        if self._process is not None:
            self._process.kill()
            with self._process:
                self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill the process if it runs, and start an empty server on the same port."""
        self.kill()
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-m", "tests.model_server", "--with-parent", "--port", str(self.port)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=pipe, stdout=pipe, start_new_session=True
        )  # its own session: Ctrl-C reaches only the tests, which then stop it
        try:
            self.port = int(self._first_line().rpartition(":")[2])
            self._ask("GET", "/health")
        except BaseException:
            self.kill()
            raise

    def _first_line(self) -> str:
        deadline = time.monotonic() + START_WITHIN_S
        pipe = self._process.stdout.fileno()
        said = b""
        while not said.endswith(b"\n"):
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            more = os.read(pipe, 4096) if ready else b""
            if not more:
                raise NotStarted(f"the model server said only {said!r}")
            said += more
        return said.decode().strip()

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        with NO_PROXY.open(request, timeout=ANSWER_WITHIN_S) as answer:
            return json.load(answer)


@contextmanager
def running(port: int = 0) -> Iterator[ModelServer]:
    """Run a model server on `port` (0: a free one) for the duration of the block."""
    server = ModelServer(port)
    try:
        yield server
    finally:
        server.kill()
