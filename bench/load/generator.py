"""A handle of the load generator process, which is reused because its start takes as long as a short load."""

import atexit
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

import orjson

from local.servers import packages


class Generator:
    """The process that runs loads one after another; it is started for the first load, and again after a failure."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, spec: Mapping[str, object], timeout_s: float) -> dict[str, Any] | None:
        """Run a load and return its figures, or None if the process exits; the process is killed after `timeout_s`."""
        process = self._ensure_process()
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(timeout_s, process.kill)
        timer.start()
        try:
            process.stdin.write(orjson.dumps(spec) + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            timer.cancel()
        if not line:
            self.close()
            return None
        figures: dict[str, Any] = orjson.loads(line)
        return figures

    def close(self) -> None:
        """Kill the process if it is running; it also exits by itself at end of file on its standard input."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process = None

    def _ensure_process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.load"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=packages.ROOT,
            )
        return self._process


GENERATOR = Generator()
atexit.register(GENERATOR.close)
