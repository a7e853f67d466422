"""Starts the parts of a stack in order, restarts parts that end, and stops all parts in reverse order."""

import time
from collections.abc import Callable

from local.home import Home
from local.processes.child import Child, Part

FIRST_RESTART_DELAY_S = 0.2
MAX_RESTART_DELAY_S = 5.0
# A part that ran for this long before it ended is restarted with the first delay again.
STABLE_UPTIME_S = 10.0


class Supervisor:
    """The running parts of one HOME.

    Use it from one thread only: the kernel sends the parent-death signal when the thread that started the child ends.

    Args:
        print_line: prints one line for the user.
        check: called in every tick; it raises an exception to interrupt a wait.
    """

    def __init__(
        self, home: Home, *, print_line: Callable[[str], None], check: Callable[[], None] = lambda: None
    ) -> None:
        self._home = home
        self._print_line = print_line
        self._check = check
        self._parts: list[_SupervisedPart] = []

    def start(self, *parts: Part) -> None:
        """Start the parts concurrently and wait until all are ready.

        Raises:
            child.PartFailure: a part did not become ready; started parts run until `stop`.
        """
        children: list[Child] = []
        try:
            children.extend(Child(part, self._home) for part in parts)
            for child in children:
                child.wait_until_ready(on_wait=self.tick)
        finally:
            self._parts += [_SupervisedPart(child) for child in children]

    def tick(self) -> None:
        """Check every part once without blocking: schedule restarts of ended parts, and run restarts that are due."""
        self._check()
        now = time.monotonic()
        for supervised_part in self._parts:
            if supervised_part.restart_at is None:
                self._schedule_restart_if_ended(supervised_part, now)
            elif supervised_part.restart_at <= now:
                self._restart_part(supervised_part, now)

    def stop(self, *, should_hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop all parts stage by stage, in reverse order of start; shorten grace periods if `should_hurry` is true."""
        children = [supervised_part.child for supervised_part in reversed(self._parts)]
        for stage in sorted({child.part.stage for child in children}, reverse=True):
            stage_children = [child for child in children if child.part.stage == stage]
            for child in stage_children:
                child.send_stop_signal()
            for child in stage_children:
                child.wait_until_stopped(should_hurry=should_hurry)
        self._parts.clear()

    def _schedule_restart_if_ended(self, supervised_part: "_SupervisedPart", now: float) -> None:
        exit_reason = supervised_part.child.ended()
        if exit_reason is not None:
            if now - supervised_part.child.started_at >= STABLE_UPTIME_S:
                supervised_part.restart_delay_s = FIRST_RESTART_DELAY_S
            self._schedule_restart(supervised_part, now, f"ended ({exit_reason})")

    def _restart_part(self, supervised_part: "_SupervisedPart", now: float) -> None:
        try:
            supervised_part.child = Child(supervised_part.child.part, self._home)
        except OSError as error:  # out of memory or disk space: a later attempt may succeed
            self._schedule_restart(supervised_part, now, f"could not be started ({error})")
        else:
            supervised_part.restart_at = None

    def _schedule_restart(self, supervised_part: "_SupervisedPart", now: float, reason: str) -> None:
        name = supervised_part.child.part.name
        log_file = self._home.log_file(name)
        self._print_line(f"{name} {reason}; restarting in {supervised_part.restart_delay_s:g} s. Log: {log_file}")
        supervised_part.restart_at = now + supervised_part.restart_delay_s
        supervised_part.restart_delay_s = min(2 * supervised_part.restart_delay_s, MAX_RESTART_DELAY_S)


class _SupervisedPart:
    """A part and its restarts; `restart_at` (monotonic clock) is set from the end of the part until its restart."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.restart_at: float | None = None
        self.restart_delay_s = FIRST_RESTART_DELAY_S
