"""Progress reports of a parallel test run: the number of finished tests and the longest-running test."""

import time
from collections.abc import Sequence

import pytest

REPORT_INTERVAL_S = 20


class Progress:
    """A pytest plugin for the process that distributes the tests."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self._started_at = self._reported_at = time.monotonic()
        self._total = 0
        self._finished = 0
        self._running: dict[str, float] = {}  # start time of each running test by test ID

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self._total = len(ids)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._running.pop(nodeid, None)
        self._finished += 1
        now = time.monotonic()
        if now - self._reported_at >= REPORT_INTERVAL_S:
            self._reported_at = now
            if self._reporter._tw.width_of_current_line:
                self._reporter.write("\n")
            self._reporter.write_line(self._line(now))

    def _line(self, now: float) -> str:
        failed = len(self._reporter.stats.get("failed", [])) + len(self._reporter.stats.get("error", []))
        line = f"{now - self._started_at:.0f} s: {self._finished} of {self._total} tests finished, {failed} failed"
        if self._running:
            nodeid, started_at = next(iter(self._running.items()))
            line += f"; {len(self._running)} running, longest ({now - started_at:.0f} s): {nodeid}"
        return line
