"""Isolation of recoveries: a response that cannot be recovered does not delay the recovery of other responses."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from core import errors
from core.database import Database

log = logging.getLogger(__name__)

# Delay before a response that could not be recovered is tried again; it doubles with each failure up to the maximum.
_FIRST_DELAY_S = 5.0
_MAX_DELAY_S = 300.0


@dataclass
class _Postponement:
    delay_s: float
    until: float


class Recovery:
    """Recovers responses for one chore, and postpones those that could not be recovered."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._postponed: dict[str, _Postponement] = {}

    def postponed_ids(self) -> set[str]:
        """Return the IDs of the responses to ignore for now."""
        now = time.monotonic()
        # A response that this chore has not selected again for `_MAX_DELAY_S` has been recovered by another process.
        self._postponed = {
            response_id: entry for response_id, entry in self._postponed.items() if entry.until > now - _MAX_DELAY_S
        }
        return {response_id for response_id, entry in self._postponed.items() if entry.until > now}

    def try_to_recover(self, response_id: str, recover: Callable[[], object]) -> bool:
        """Run `recover` for one response; return whether it returned a true value.

        An error is logged, and postpones only this response. This includes a lost connection if Postgres still answers:
        the data of the response may be too large for the time limits of Postgres.

        Raises:
            errors.StoreUnavailable: Postgres is unavailable.
        """
        try:
            recovered = bool(recover())
        except errors.StoreUnavailable as error:
            if not isinstance(error, errors.StoreBusy) and not self._database.is_available():
                raise
            self._postpone(response_id)
            log.warning("recovery postponed", extra={"response": response_id, "cause": str(error)})
            return False
        except Exception:
            self._postpone(response_id)
            log.exception("cannot recover", extra={"response": response_id})
            return False
        self._postponed.pop(response_id, None)
        return recovered

    def _postpone(self, response_id: str) -> None:
        earlier = self._postponed.get(response_id)
        delay_s = _FIRST_DELAY_S if earlier is None else min(2 * earlier.delay_s, _MAX_DELAY_S)
        self._postponed[response_id] = _Postponement(delay_s, time.monotonic() + delay_s)
