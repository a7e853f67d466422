"""`backburner` as a process."""

import subprocess
import sys
from pathlib import Path

from local.home import Home
from local.processes import environment
from tests.harness import forked

ROOT = Path(__file__).parent.parent.parent


class CommandLine:
    """Starts `backburner WORDS` as processes that share a data folder."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._started: list[subprocess.Popen[str]] = []

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command that ends by itself, without the cost of a new interpreter; return its result."""
        return forked.run(words, self._environment(variables), within_s=30)

    def _environment(self, variables: dict[str, str]) -> dict[str, str]:
        inherited = environment.inherited().items()
        others = {name: value for name, value in inherited if not name.startswith("BACKBURNER_")}
        return {**others, "BACKBURNER_HOME": str(self.home.path), **variables}

    def __call__(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *words],
            env=self._environment(variables),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def stop(self) -> None:
        for process in self._started:
            process.terminate()
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
