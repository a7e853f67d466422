"""The environment variables of this process, for child processes and for the checks of `doctor`."""

import os


def process_variables() -> dict[str, str]:
    """Return a copy of all environment variables, including those of settings."""
    return dict(os.environ)  # noqa: TID251  settings are read from it only in core.settings
