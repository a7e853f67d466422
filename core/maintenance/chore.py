"""The interface of the sweeper's chores, and the isolation of errors in single responses."""

import logging
from collections.abc import Callable
from typing import Protocol

from core import errors

log = logging.getLogger(__name__)

# Maximum number of responses that a chore selects per statement to end or requeue them.
BATCH = 50


class Chore(Protocol):
    """One step of a sweeper's round. It may run in any number of sweepers at the same time."""

    @property
    def name(self) -> str:
        """The name of the chore in logs."""

    def perform(self) -> None:
        """Do the work of one round.

        Raises:
            errors.StoreUnavailable: the next round does the remaining work.
        """


def try_to_recover(response_id: str, recover: Callable[[], object]) -> bool:
    """Run `recover` for one response; return whether it returned a true value.

    Errors of `recover` are logged, so that they do not affect the other responses.

    Raises:
        errors.StoreUnavailable: Postgres is unavailable, so no other response can be recovered either.
    """
    try:
        return bool(recover())
    except errors.StoreBusy as error:
        log.warning("recovery postponed", extra={"response": response_id, "cause": str(error)})
    except errors.StoreUnavailable:
        raise
    except Exception:
        log.exception("cannot recover", extra={"response": response_id})
    return False
