"""Starts the parts of a stack in order, restarts parts that end, and stops all parts in reverse order."""

import time
from collections.abc import Callable

from local.home import Home
from local.processes.child import Child, Part

FIRST_DELAY_S = 0.2
MAX_DELAY_S = 5.0
STABLE_UPTIME_S = 10.0


class Supervisor:
    """The running parts of one HOME.

    Use it from one thread only: the kernel sends the parent-death signal when the thread that started the child ends.

    Args:
        print_line: prints one line for the user.
        check: called often during waits; an exception in it ends the wait.
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
        for part in self._parts:
            if part.restart_at is None:
                self._schedule_restart_if_ended(part, now)
            elif part.restart_at <= now:
                self._restart_part(part, now)

    def stop(self, *, should_hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop all parts stage by stage, in reverse order of start; shorten grace periods if `should_hurry` is true."""
        children = [part.child for part in reversed(self._parts)]
        for stage in sorted({child.part.stage for child in children}, reverse=True):
            stage_children = [child for child in children if child.part.stage == stage]
            for child in stage_children:
                child.send_stop_signal()
            for child in stage_children:
                child.wait_until_stopped(should_hurry=should_hurry)
        self._parts.clear()

    def _schedule_restart_if_ended(self, part: "_SupervisedPart", now: float) -> None:
        exit_reason = part.child.ended()
        if exit_reason is not None:
            if now - part.child.started_at >= STABLE_UPTIME_S:
                part.delay_s = FIRST_DELAY_S
            self._schedule_restart(part, now, f"ended ({exit_reason})")

    def _restart_part(self, part: "_SupervisedPart", now: float) -> None:
        try:
            part.child = Child(part.child.part, self._home)
        except OSError as error:  # out of memory or disk space: a later attempt may succeed
            self._schedule_restart(part, now, f"could not be started ({error})")
        else:
            part.restart_at = None

    def _schedule_restart(self, part: "_SupervisedPart", now: float, reason: str) -> None:
        name = part.child.part.name
        log = self._home.log_file(name)
        self._print_line(f"{name} {reason}; restarting in {part.delay_s:g} s. Log: {log}")
        part.restart_at = now + part.delay_s
        part.delay_s = min(2 * part.delay_s, MAX_DELAY_S)


class _SupervisedPart:
    """A supervised part; `restart_at` is set while the part is not running."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.restart_at: float | None = None
        self.delay_s = FIRST_DELAY_S
