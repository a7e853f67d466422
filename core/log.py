"""Logs of every part: one line an event, key=value, with response and attempt where there is one."""

import logging
import sys

from logfmter import Logfmter


def printable(text: str) -> str:
    """The text with every character that could move a terminal's cursor, or end a line, written out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class _OneLine(Logfmter):
    """A line of printable text for each record: what clients sent can end no line and move no terminal's cursor."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def configure(level: str) -> None:
    """Send the logs of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _OneLine(
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
