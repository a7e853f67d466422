"""Runs all examples on the stack that is already running, or on a new stack if none is running."""

import contextlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from core import errors, settings
from core.config import catalog
from core.settings import Settings
from local import ports, stack, web
from local.home import Home
from local.processes import environment, lock
from local.processes.interrupts import Interruption, Interrupts
from local.up import load_fresh_settings

FOLDER = Path(__file__).parent
NOT_EXAMPLES = {"__main__.py", "connection.py"}
EXAMPLE_TIMEOUT_S = 120


def list_examples() -> list[Path]:
    """Return all example scripts in the order in which they are run."""
    return sorted(path for path in FOLDER.rglob("*.py") if path.name not in NOT_EXAMPLES)


@contextlib.contextmanager
def running_stack() -> Iterator[tuple[Settings, list[str]]]:
    """Yield the settings and the models of the running stack, or start a new stack and stop it on exit.

    Raises:
        errors.Error: the running stack is not ready, or a new stack could not be started.
    """
    home = Home.at(settings.load().home)
    with Interrupts() as interrupts, contextlib.ExitStack() as contexts:
        try:
            contexts.enter_context(lock.lock_folder(home))
        except lock.StackAlreadyRunningError as error:
            print(f"{error} The examples use this stack.")
            stack_settings = settings.load()
            if web.status(web.origin(stack_settings.host, stack_settings.port) + "/readyz") != 200:
                raise errors.StoreUnavailable("The running stack is not ready yet.") from error
            yield stack_settings, sorted(catalog.load(stack_settings.config).models)
            return
        new_settings = load_fresh_settings(home).model_copy(
            update={"port": ports.free_port(), "flower_port": ports.free_port()}
        )
        new_stack = stack.running(new_settings, home, workers=1, print_line=print, interrupts=interrupts)
        running = contexts.enter_context(new_stack)
        yield running.settings, running.models


def run_example(example: Path, stack_settings: Settings, model: str) -> bool:
    """Run an example and return whether it passed; print PASS or FAIL, and its output."""
    module = ".".join(("examples", *example.relative_to(FOLDER).with_suffix("").parts))
    variables = {
        "OPENAI_BASE_URL": web.origin(stack_settings.host, stack_settings.port) + "/v1",
        "OPENAI_API_KEY": stack.api_key(stack_settings),
        "MODEL": environment.process_variables().get("MODEL") or model,
    }
    try:
        process = subprocess.run(
            [sys.executable, "-m", module],
            cwd=FOLDER.parent,
            env=environment.process_variables() | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=EXAMPLE_TIMEOUT_S,
            check=False,
        )
        output, has_passed = process.stdout, process.returncode == 0
    except subprocess.TimeoutExpired:
        output, has_passed = f"The example did not finish within {EXAMPLE_TIMEOUT_S} s.\n", False
    print(f"{'PASS' if has_passed else 'FAIL'} {example.stem}", flush=True)
    print(textwrap.indent(output, "  "), flush=True)
    return has_passed


def main() -> None:
    try:
        with running_stack() as (stack_settings, models):
            if not models:
                raise errors.BadSettings(f"No model is configured in {stack_settings.config}.")
            results = [run_example(example, stack_settings, models[0]) for example in list_examples()]
    except errors.Error as error:
        raise SystemExit(f"Error: {error}") from error
    except Interruption:
        raise SystemExit(130) from None
    raise SystemExit(not all(results))


if __name__ == "__main__":
    main()
