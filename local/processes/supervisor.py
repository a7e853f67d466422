"""Supervisor of the parts of a stack: starts them in order, restarts failed ones, stops all in reverse order."""

import time
from collections.abc import Callable

from local.home import Home
from local.processes.child import Child, Part

FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 5.0
STEADY_AFTER_S = 10.0


class Supervisor:
    """The running parts of one HOME.

    Use it from one thread only: the parent-death signal is sent when the thread that started the child ends.

    Args:
        say: prints one line for the user.
        check: called often while waiting; an exception that it raises ends the wait.
    """

    def __init__(self, home: Home, *, say: Callable[[str], None], check: Callable[[], None] = lambda: None) -> None:
        self._home = home
        self._say = say
        self._check = check
        self._supervised: list[_Supervised] = []

    def start(self, *parts: Part) -> None:
        """Start the parts concurrently and wait until all are ready.

        Raises:
            child.PartFailed: a part did not become ready; started parts keep running until `stop`.
        """
        children: list[Child] = []
        try:
            children.extend(Child(part, self._home) for part in parts)
            for child in children:
                child.wait_until_ready(meanwhile=self.tick)
        finally:
            self._supervised += [_Supervised(child) for child in children]

    def tick(self) -> None:
        """Check every part once without blocking: schedule a restart for each that ended, and run restarts due."""
        self._check()
        now = time.monotonic()
        for part in self._supervised:
            if part.restart_at is None:
                self._note_if_dead(part, now)
            elif part.restart_at <= now:
                self._start_again(part, now)

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop all parts stage by stage, in reverse order of start; `hurry` shortens the grace periods."""
        running = [part.child for part in reversed(self._supervised)]
        for stage in sorted({child.part.stage for child in running}, reverse=True):
            going = [child for child in running if child.part.stage == stage]
            for child in going:
                child.ask_to_stop()
            for child in going:
                child.wait_until_stopped(hurry=hurry)
        self._supervised.clear()

    def _note_if_dead(self, part: "_Supervised", now: float) -> None:
        how = part.child.ended()
        if how is not None:
            if now - part.child.started_at >= STEADY_AFTER_S:
                part.wait_s = FIRST_WAIT_S
            self._wait_to_restart(part, now, f"ended ({how})")

    def _start_again(self, part: "_Supervised", now: float) -> None:
        try:
            part.child = Child(part.child.part, self._home)
        except OSError as error:  # out of memory or disk space: may succeed later
            self._wait_to_restart(part, now, f"could not be started ({error})")
        else:
            part.restart_at = None

    def _wait_to_restart(self, part: "_Supervised", now: float, what: str) -> None:
        name = part.child.part.name
        log = self._home.log_file(name)
        self._say(f"{name} {what}; restarting in {part.wait_s:g} s. Log: {log}")
        part.restart_at = now + part.wait_s
        part.wait_s = min(2 * part.wait_s, LONGEST_WAIT_S)


class _Supervised:
    """A supervised part; `restart_at` is set while the part is not running."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.restart_at: float | None = None
        self.wait_s = FIRST_WAIT_S
