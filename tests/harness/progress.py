"""Progress reports of a parallel test run: tests done and longest-running test, every few seconds."""

import time
from collections.abc import Sequence

import pytest

EVERY_S = 20


class Progress:
    """A pytest plugin for the process that distributes the tests."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self._began_at = self._written_at = time.monotonic()
        self._total = 0
        self._done = 0
        self._running: dict[str, float] = {}  # start time of each running test by test ID

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self._total = len(ids)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._running.pop(nodeid, None)
        self._done += 1
        now = time.monotonic()
        if now - self._written_at >= EVERY_S:
            self._written_at = now
            if self._reporter._tw.width_of_current_line:
                self._reporter.write("\n")
            self._reporter.write_line(self._line(now))

    def _line(self, now: float) -> str:
        failed = len(self._reporter.stats.get("failed", [])) + len(self._reporter.stats.get("error", []))
        line = f"{now - self._began_at:.0f} s: {self._done} of {self._total} tests done, {failed} failed"
        if self._running:
            nodeid, since = next(iter(self._running.items()))
            line += f"; {len(self._running)} running, longest ({now - since:.0f} s): {nodeid}"
        return line
