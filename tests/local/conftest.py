"""A data folder for each test, and the command line as a process."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local import environment
from local.home import Home

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home")


@pytest.fixture
def backburner(home: Home) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `backburner WORDS` with a data folder of its own; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, **variables: str) -> subprocess.Popen[str]:
        others = {name: value for name, value in environment.inherited().items() if not name.startswith("BACKBURNER_")}
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "local.cli", *words],
                env={**others, "BACKBURNER_HOME": str(home.path), **variables},
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
