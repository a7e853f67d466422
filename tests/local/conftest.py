"""A data folder for each test, and the command line for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.home import Home
from tests.local.command_line import CommandLine


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home")


@pytest.fixture
def backburner(home: Home) -> Iterator[CommandLine]:
    made = CommandLine(home)
    yield made
    made.stop()
