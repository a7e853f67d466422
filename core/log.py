"""Logs of every part: one line an event, key=value, with response and attempt where there is one."""

import logging
import sys

from logfmter import Logfmter


def configure(level: str) -> None:
    """Send the logs of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        Logfmter(
            keys=["at", "level", "part"],
            mapping={"at": "asctime", "level": "levelname", "part": "name"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Its reconnection attempts would drown what matters; we report what follows from them.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    # A line for each message received says nothing that the claim does not say.
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
