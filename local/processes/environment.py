"""The environment as we were given it: what children inherit, and what `doctor` looks through."""

import os


def inherited() -> dict[str, str]:
    """A copy of every variable, ours and others'."""
    return dict(os.environ)  # noqa: TID251  settings are read elsewhere; this is all the rest
