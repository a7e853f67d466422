"""`backburner` as a process."""

import subprocess
import sys
from pathlib import Path

from local import environment
from local.home import Home

ROOT = Path(__file__).parent.parent.parent


class CommandLine:
    """Starts `backburner WORDS` as processes that share a data folder."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._started: list[subprocess.Popen[str]] = []

    def __call__(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        inherited = environment.inherited().items()
        others = {name: value for name, value in inherited if not name.startswith("BACKBURNER_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "local.cli", *words],
            env={**others, "BACKBURNER_HOME": str(self.home.path), **variables},
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
