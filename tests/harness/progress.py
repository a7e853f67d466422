"""Prints the progress of a parallel test run: the number of finished tests and the longest-running test."""

import time
from collections.abc import Sequence

import pytest

REPORT_INTERVAL_S = 20


class Progress:
    """A pytest plugin for the process that distributes the tests."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self._started_at = self._reported_at = time.monotonic()
        self._test_count = 0
        self._finished_count = 0
        self._start_times: dict[str, float] = {}  # start time of each running test by test ID

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self._test_count = len(ids)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._start_times[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._start_times.pop(nodeid, None)
        self._finished_count += 1
        now = time.monotonic()
        if now - self._reported_at >= REPORT_INTERVAL_S:
            self._reported_at = now
            if self._reporter._tw.width_of_current_line:
                self._reporter.write("\n")
            self._reporter.write_line(self._format_line(now))

    def _format_line(self, now: float) -> str:
        failure_count = len(self._reporter.stats.get("failed", [])) + len(self._reporter.stats.get("error", []))
        finished = f"{self._finished_count} of {self._test_count} tests finished"
        line = f"{now - self._started_at:.0f} s: {finished}, {failure_count} failed"
        if self._start_times:
            nodeid, started_at = next(iter(self._start_times.items()))
            line += f"; {len(self._start_times)} running, longest ({now - started_at:.0f} s): {nodeid}"
        return line
