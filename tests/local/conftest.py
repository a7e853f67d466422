"""Fixtures: a data folder for each test, and a command line that uses the folder."""

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
    command_line = CommandLine(home)
    yield command_line
    command_line.stop()
