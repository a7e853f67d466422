"""The environment of this process, which children inherit and `doctor` checks."""

import os


def process_variables() -> dict[str, str]:
    """A copy of all environment variables."""
    return dict(os.environ)  # noqa: TID251  settings are read in core.settings; this is for all other variables
