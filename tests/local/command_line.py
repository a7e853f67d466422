"""Runs `backburner` commands as processes."""

import subprocess
import sys
from pathlib import Path

from local.home import Home
from local.processes import environment
from tests.harness import forked

ROOT = Path(__file__).parent.parent.parent


class CommandLine:
    """Runs and starts `backburner` commands, which share a data folder."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._processes: list[subprocess.Popen[str]] = []

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, in a forked process instead of a new interpreter, and return its result."""
        return forked.run_command(arguments, self._environment(variables), timeout_s=30)

    def _environment(self, variables: dict[str, str]) -> dict[str, str]:
        process_variables = environment.process_variables().items()
        unrelated_variables = {name: value for name, value in process_variables if not name.startswith("BACKBURNER_")}
        return {**unrelated_variables, "BACKBURNER_HOME": str(self.home.path), **variables}

    def __call__(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command in a new interpreter, and return its process."""
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *arguments],
            env=self._environment(variables),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def stop(self) -> None:
        """Stop all processes that were started."""
        for process in self._processes:
            process.terminate()
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
