"""What a chore of the sweeper is, and how one is kept from affecting the others."""

import logging
from collections.abc import Callable
from typing import Protocol

from core import errors

log = logging.getLogger(__name__)

# Maximum responses per statement that a chore ends or requeues.
BATCH = 50


class Chore(Protocol):
    """One task of a sweeper's round. It may run in any number of sweepers at the same time."""

    @property
    def name(self) -> str:
        """The name in logs."""

    def perform(self) -> None:
        """Do as much as one round may do.

        Raises:
            errors.StoreUnavailable: the rest is for the next round.
        """


def recovered(response_id: str, recover: Callable[[], object]) -> bool:
    """Run `recover` for one response; returns whether it returned a true value.

    Any error but an unavailable Postgres is logged, so that it does not affect the other responses.
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
