"""Logging setup: each record is one line of key=value pairs, with control characters escaped."""

import logging
import sys

from logfmter import Logfmter


def escape_unprintable(text: str) -> str:
    """Escape every character that could move a terminal's cursor or end a line."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


class _OneLineFormatter(Logfmter):
    """Formats each record as one line without control characters, so that client input cannot inject lines."""

    def format(self, record: logging.LogRecord) -> str:
        return escape_unprintable(super().format(record))


def configure(level: str) -> None:
    """Configure the root logger to write to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _OneLineFormatter(
            keys=["at", "level", "part"],
            mapping={"at": "asctime", "level": "levelname", "part": "name"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # The pool's reconnection attempts would flood the log; Backburner logs the resulting errors itself.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    # Celery logs a line per received message; our log entry for the claim already contains the same information.
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
