"""Value types: the result of a create request, and the idempotency key with which a client can repeat the request."""

from dataclasses import dataclass

from core.allowance import Allowance


@dataclass(frozen=True)
class IdempotencyKey:
    """An idempotency key, with which a client can repeat a create request without creating a second response.

    Args:
        key: the client's key, unique in the project for 24 hours.
        request_hash: hash of the request body, to detect reuse of the key with another body.
    """

    key: str
    request_hash: bytes


@dataclass(frozen=True)
class CreatedResponse:
    """An accepted response.

    Args:
        document: the response object as JSON text; None if the response already existed, because an earlier try of this
            create, or another request with the same key, had inserted it. The caller must then read it by its ID.
        allowance: the project's remaining credits, if it has limits.
    """

    id: str
    document: str | None
    allowance: Allowance | None = None
