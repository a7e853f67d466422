"""Domain exceptions. app/errors.py maps them to HTTP responses.

Error:
├── BadSettings: a setting or the configuration file is invalid
├── SchemaMismatch: this program cannot run on the schema of the database
├── InvalidRequest: the request is invalid; nothing was stored
│   └── UnknownModel: no model has this name
├── InvalidKey: the API key is missing, unknown or revoked
├── Forbidden: the API key does not have the required right
├── NotFound: the object does not exist in the caller's project
├── RequestTooLarge: the request body exceeds the size limit
├── RateLimitExceeded: a limit of the project is exceeded; nothing was stored
├── ServerBusy: all slots for waiting requests or for uploads are in use
├── ServerStopping: the process is shutting down
├── StoreUnavailable: Postgres did not answer; whether the transaction was committed is unknown
│   └── StoreBusy: a lock or a slow statement timed out
├── StoreDataError: Postgres rejected the data
├── SealError: encrypted content was not sealed by this server, or was modified
└── ModelServerError: the model server did not produce an answer
    ├── ModelServerUnavailable: it cannot accept the request now; wait and retry
    │   └── ModelServerUnreachable: no connection could be opened
    ├── TransientError: it failed before any output; retry a few times
    └── PermanentError: it rejected the request, or did not complete its answer; do not retry
        ├── AnswerTimeout: it sent nothing within the timeout
        └── ContextExceeded: the request exceeds the model's context window
"""

from core.allowance import Allowance
from core.codes import Code


class Error(Exception):
    """Base class of errors that may be shown to the caller; `str(error)` is a complete sentence."""

    code: str | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code or self.code


class BadSettings(Error):
    """A setting or the configuration file is invalid."""


class SchemaMismatch(Error):
    """The database schema is missing, or is older or newer than this program requires."""


class InvalidRequest(Error):
    """The request is invalid and the client can correct it; nothing was stored."""

    code = "invalid_value"


class UnknownModel(InvalidRequest):
    """The configuration contains no model with this name."""

    code = "model_not_found"


class InvalidKey(Error):
    """The API key is missing, unknown or revoked."""

    code = "invalid_api_key"


class Forbidden(Error):
    """The API key is valid but does not have the required right."""

    code = "permission_denied"


class NotFound(Error):
    """The object does not exist in the caller's project."""


class RequestTooLarge(Error):
    """The request body exceeds the size limit."""

    code = "request_too_large"


class RateLimitExceeded(Error):
    """A limit of the project is exceeded; nothing was stored.

    Args:
        kind: the exceeded limit: `requests` or `tokens`.
        retry_after_s: seconds until a retry can succeed; None if the request can never fit the limit.
        allowance: the remaining credits, if known.
    """

    code = Code.RATE_LIMIT_EXCEEDED

    def __init__(
        self,
        message: str,
        *,
        kind: str = "requests",
        retry_after_s: float | None = 1,
        code: str | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.kind = kind
        self.retry_after_s = retry_after_s
        self.allowance = allowance


class ServerBusy(Error):
    """All slots of the process for waiting requests, or for uploads, are in use."""

    code = "server_busy"


class ServerStopping(Error):
    """The process is shutting down and accepts no more requests; another process can serve the request."""

    code = "server_shutting_down"


class StoreUnavailable(Error):
    """Postgres is unreachable or did not answer; whether the transaction was committed is unknown."""

    code = "store_unavailable"


class StoreBusy(StoreUnavailable):
    """Postgres is reachable, but a statement or its wait for a lock exceeded the timeout."""


class StoreDataError(Error):
    """Postgres rejected the data; nothing was written."""


class SealError(Error):
    """Encrypted content cannot be opened: another server or project sealed it, or it was modified."""


class ModelServerError(Error):
    """The model server did not produce an answer; `code` is from the closed list of terminal error codes.

    Attributes:
        kind: a more precise code for the error body of a synchronous request, if there is one.
    """

    code = Code.SERVER_ERROR
    kind: str | None = None


class ModelServerUnavailable(ModelServerError):
    """The model server cannot accept the request now; no output was read.

    Args:
        retry_after_s: seconds from the server's `Retry-After` header, if it sent one.
    """

    def __init__(self, message: str, *, code: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class ModelServerUnreachable(ModelServerUnavailable):
    """No connection to the model server could be opened, so no request can succeed now."""


class TransientError(ModelServerError):
    """The model server failed on this request before any output; a retry may or may not succeed."""


class PermanentError(ModelServerError):
    """The model server rejected this request, or did not complete its answer."""


class AnswerTimeout(PermanentError):
    """The model server accepted the connection, and possibly the request, but sent nothing within the timeout."""


class ContextExceeded(PermanentError):
    """The request, or the request plus its answer, exceeds the model's context window.

    Args:
        tokens: the number of tokens that the model server counted, if it reports the number.
        limit: the size of the context window in tokens, if the model server reports the size.
    """

    code = Code.INVALID_PROMPT
    kind = "context_length_exceeded"

    def __init__(self, message: str, *, tokens: int | None = None, limit: int | None = None) -> None:
        super().__init__(message)
        self.tokens = tokens
        self.limit = limit
