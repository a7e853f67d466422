"""Look-ups of responses by ID for a caller, which can access only the responses of its project."""

from core import errors, ids
from core.database import Connection
from core.responses import responses_sql
from core.tenants.keys import Caller


def find_own_response(connection: Connection, caller: Caller, response_id: str) -> responses_sql.StoredResponse | None:
    """Find a response of the caller's project; None if it does not exist or belongs to another project."""
    return responses_sql.find(connection, caller.project_id, response_id) if ids.is_response_id(response_id) else None


def find_or_raise(connection: Connection, caller: Caller, response_id: str) -> responses_sql.StoredResponse:
    """Find a response as `find_own_response` does, but raise `unknown_response` instead of returning None."""
    row = find_own_response(connection, caller, response_id)
    if row is None:
        raise unknown_response(response_id)
    return row


def unknown_response(response_id: str) -> errors.NotFound:
    """Return the error for a response that does not exist or belongs to another project; both have the same error."""
    return errors.NotFound(f"Response with id '{response_id[:200]}' not found.", param="response_id")
