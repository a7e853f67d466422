"""The errors of the domain: facts with their parts. What HTTP makes of them is in app/errors.py.

Error:
├── BadSettings        a setting or the configuration file says something impossible
├── SchemaMismatch     the database's schema is not the one this program knows
├── InvalidRequest     the request cannot be taken; nothing was stored
│   └── UnknownModel
├── InvalidKey
├── Forbidden
├── NotFound
├── TooLarge
├── RateLimited        a limit of the project is reached; nothing was stored
├── Busy               no place left to wait in
├── StoreUnavailable   Postgres did not answer; what was asked was not acknowledged
│   └── StoreBusy      a lock or a slow statement was in the way
├── StoreRefused       Postgres does not take what it was given
├── NotSealed          an encrypted content is none of ours, or was changed
└── ModelServerFailed  the model server did not do its part
    ├── Unavailable    it cannot now: wait for it
    │   └── Unreachable    nobody answers there at all
    ├── Erred          it failed before any output: a few more tries
    └── Refused        it will not, for this request
        └── Silent         it said nothing for too long
        └── ContextExceeded    it is longer than the model can read
"""

from core.allowance import Allowance


class Error(Exception):
    """An error the caller can be told about; `str()` of it is a complete sentence."""

    code: str | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code or self.code


class BadSettings(Error):
    """A setting or the configuration file says something impossible."""


class SchemaMismatch(Error):
    """The database's schema is older or newer than this program."""


class InvalidRequest(Error):
    """The request is wrong in a way its sender can mend; nothing was stored."""

    code = "invalid_value"


class UnknownModel(InvalidRequest):
    """No such model is configured."""

    code = "model_not_found"


class InvalidKey(Error):
    """No key, or one that is unknown or revoked."""

    code = "invalid_api_key"


class Forbidden(Error):
    """The key is good but may not do this."""

    code = "permission_denied"


class NotFound(Error):
    """There is no such thing in the caller's project."""


class TooLarge(Error):
    """The body is over the limit."""

    code = "request_too_large"


class RateLimited(Error):
    """A limit of the project is reached; nothing was stored.

    Args:
        kind: what there is too little of: `requests` or `tokens`.
        retry_after_s: when it can be had; None where it never fits.
        allowance: what is left, where that is known.
    """

    code = "rate_limit_exceeded"

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


class Busy(Error):
    """There is no place left to wait in."""

    code = "server_busy"


class Stopping(Error):
    """The process stops and serves nothing more; another one can."""

    code = "server_shutting_down"


class StoreUnavailable(Error):
    """Postgres could not be reached or did not answer in time."""

    code = "store_unavailable"


class StoreBusy(StoreUnavailable):
    """Postgres answers, but a row is locked or a statement takes too long."""


class StoreRefused(Error):
    """Postgres does not take what it was given; nothing was written."""


class NotSealed(Error):
    """An encrypted content cannot be opened here: another's, another project's, or changed."""


class ModelServerFailed(Error):
    """The model server did not do its part; `code` is of the wire's closed list.

    Attributes:
        kind: the more precise code that a synchronous answer has, where there is one.
    """

    code = "server_error"
    kind: str | None = None


class Unavailable(ModelServerFailed):
    """The model server cannot take the request now; nothing of an answer was read.

    Args:
        retry_after_s: what the server asked for, if it did.
    """

    def __init__(self, message: str, *, code: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class Unreachable(Unavailable):
    """The model server could not be connected to: whoever asks, and whatever."""


class Erred(ModelServerFailed):
    """The model server failed at this request before any output; it may succeed at once, or never."""


class Refused(ModelServerFailed):
    """The model server will not answer this request, or did not end its answer."""


class Silent(Refused):
    """The model server took the request, or only the connection, and then said nothing for too long."""


class ContextExceeded(Refused):
    """The request, or the request and its answer, are longer than the model's context.

    Args:
        tokens: what the model server counted, if it says so.
        limit: what its context holds, if it says so.
    """

    code = "invalid_prompt"
    kind = "context_length_exceeded"

    def __init__(self, message: str, *, tokens: int | None = None, limit: int | None = None) -> None:
        super().__init__(message)
        self.tokens = tokens
        self.limit = limit
