"""Locates installed packages from which only programs and model weights are used, but no Python code."""

import importlib.util
from pathlib import Path

from core import errors

ROOT = Path(__file__).parents[2]  # the checkout, which contains our own packages
INSTALL_COMMAND = "pip install --no-deps -r requirements/local.txt"


def folder(name: str) -> Path:
    """The folder of an installed package. The package is not imported, because its dependencies are not installed.

    Raises:
        errors.BadSettings: the package is not installed; the message contains the install command.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.origin:
        raise errors.BadSettings(f"The package {name} is not installed. Run: {INSTALL_COMMAND}")
    return Path(spec.origin).parent
