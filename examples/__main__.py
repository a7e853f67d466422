"""Runs all examples on the stack that is running in this folder, or else on a new one."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from core import errors, settings
from core.config import catalog
from core.settings import Settings
from local import ports, stack, web
from local.home import Home
from local.processes import environment, lock
from local.processes.interrupts import Interrupted, Interrupts
from local.up import fresh_settings

FOLDER = Path(__file__).parent
NOT_EXAMPLES = {"__main__.py", "connection.py"}
WITHIN_S = 120


def examples() -> list[Path]:
    """All example scripts in the order in which they are run."""
    return sorted(path for path in FOLDER.glob("*.py") if path.name not in NOT_EXAMPLES)


@contextlib.contextmanager
def running() -> Iterator[tuple[Settings, list[str]]]:
    """Yield the settings and the models of the stack that is running in this folder, or else of a new one.

    A new stack is stopped on exit.

    Raises:
        errors.Error: the running stack is not ready, or a new one could not be started.
    """
    home = Home.at(settings.load().home)
    with Interrupts() as interrupts, contextlib.ExitStack() as locked:
        try:
            locked.enter_context(lock.locked(home))
        except lock.AlreadyRuns as error:
            print(f"{error} Using it.")
            found = settings.load()
            if web.status(web.origin(found.host, found.port) + "/readyz") != 200:
                raise errors.StoreUnavailable("The running stack is not ready yet.") from error
            yield found, sorted(catalog.load(found.config).models)
            return
        chosen = fresh_settings(home).model_copy(update={"port": ports.free(), "flower_port": ports.free()})
        ours = stack.running(chosen, home, workers=1, say=print, interrupts=interrupts)
        started = locked.enter_context(ours)
        yield started.settings, started.models


def passes(example: Path, found: Settings, model: str) -> bool:
    """Run an example and print PASS or FAIL, and the output if it failed; return True if it passed."""
    variables = {
        "OPENAI_BASE_URL": web.origin(found.host, found.port) + "/v1",
        "OPENAI_API_KEY": stack.api_key(found),
        "MODEL": environment.inherited().get("MODEL") or model,
    }
    try:
        done = subprocess.run(
            [sys.executable, str(example)],
            env=environment.inherited() | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        said, good = done.stdout, done.returncode == 0
    except subprocess.TimeoutExpired:
        said, good = f"The example did not finish within {WITHIN_S} s.\n", False
    print(f"{'PASS' if good else 'FAIL'} {example.stem}", flush=True)
    if not good:
        print(said)
    return good


def main() -> None:
    try:
        with running() as (found, models):
            if not models:
                raise errors.BadSettings(f"No model is configured in {found.config}.")
            outcomes = [passes(example, found, models[0]) for example in examples()]
    except errors.Error as error:
        raise SystemExit(f"Error: {error}") from error
    except Interrupted:
        raise SystemExit(130) from None
    raise SystemExit(not all(outcomes))


if __name__ == "__main__":
    main()
