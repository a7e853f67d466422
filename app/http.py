"""The request and the answer of an endpoint, and the rows of the table of endpoints."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from werkzeug.datastructures import MultiDict
from werkzeug.http import generate_etag, is_resource_modified
from werkzeug.wrappers import Request

from core import errors, jsonio
from core.allowance import Allowance
from core.bootstrap import Core
from core.tenants import audit
from core.tenants.audit import Actor
from core.tenants.keys import Caller
from core.tenants.rights import Right

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

QUOTE_LIMIT = 100  # maximum characters of a client's value quoted in an error message
LIST_ARGUMENTS = ("include[]", "include")
_NO_ARGUMENTS: MultiDict[str, str] = MultiDict()


@cache
def _environ_key(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")


def is_readable(value: str) -> bool:
    """Whether the server could decode a header's value, or all values of a repeated header.

    Granian replaces a value that is not ASCII by an empty one and joins the values of a repeated header with commas, so
    an empty value is never treated as an absent header.
    """
    return value.isascii() and all(map(str.strip, value.split(",")))


class Answer(NamedTuple):
    """An HTTP response without the headers that every response has.

    Args:
        body: bytes, or an iterable of chunks, which the server closes after the last one.
    """

    body: bytes | Iterable[bytes]
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"

    def with_headers(self, headers: Mapping[str, str]) -> "Answer":
        """A copy of the answer with additional headers."""
        return Answer(self.body, self.status, (*self.headers, *headers.items()), self.content_type)


class Exchange:
    """One request, parsed lazily, and the data that its endpoint records for the answer.

    Args:
        environ: the WSGI environment.
        values: the values of the placeholders in the endpoint's rule, by name.

    Attributes:
        request_id: the `x-request-id` of the answer.
        allowance: the remaining part of the project's limits, for the headers of the answer. Set when a response
            is created.
    """

    def __init__(self, environ: "WSGIEnvironment", core: Core, values: Mapping[str, str], request_id: str) -> None:
        self.environ = environ
        self.core = core
        self.values = values
        self.request_id = request_id
        self.allowance: Allowance | None = None
        self._caller: Caller | None = None

    @property
    def method(self) -> str:
        """The HTTP method."""
        return str(self.environ["REQUEST_METHOD"])

    @cached_property
    def request(self) -> Request:
        """Werkzeug's request object, which parses the path and the query string."""
        return Request(self.environ)

    def header(self, name: str) -> str | None:
        """A header that a request may contain only once; None if it is absent. Not for Content-Type or Content-Length.

        Raises:
            errors.InvalidRequest: the header is empty, unreadable or repeated.
        """
        value = self.list_header(name)
        if value is not None and "," in value:
            raise errors.InvalidRequest(f"The header {name} must occur once and must not contain a comma.", param=name)
        return value

    def list_header(self, name: str) -> str | None:
        """A header whose value is a comma-separated list, the form of a repeated header; None if it is absent.

        Raises:
            errors.InvalidRequest: the header, or an element of its list, is empty or unreadable.
        """
        value: str | None = self.environ.get(_environ_key(name))
        if value is not None and not is_readable(value):
            raise errors.InvalidRequest(
                f"The header {name} is empty or contains characters other than ASCII.", param=name
            )
        return value

    @property
    def has_query(self) -> bool:
        """Whether the URL has a query string."""
        return bool(self.environ.get("QUERY_STRING"))

    @cached_property
    def arguments(self) -> MultiDict[str, str]:
        """The parameters of the query string.

        Raises:
            errors.InvalidRequest: a parameter that is not a list has different values.
        """
        if not self.has_query:
            return _NO_ARGUMENTS
        for name, values in self.request.args.lists():
            if name not in LIST_ARGUMENTS and len(set(values)) > 1:
                raise errors.InvalidRequest(f"{name[:QUOTE_LIMIT]} is given twice.", param=name[:QUOTE_LIMIT])
        return self.request.args

    @property
    def caller(self) -> Caller:
        """The authenticated caller; only for endpoints that require a right."""
        assert self._caller is not None
        return self._caller

    def set_caller(self, caller: Caller) -> None:
        """Record the caller after authentication."""
        self._caller = caller

    @property
    def actor(self) -> Actor:
        """The caller as an actor of the audit log."""
        return audit.key(self.caller.key_id, self.request_id)

    def url(self, path: str) -> str:
        """The path of another endpoint as the client must use it, with the prefix that a proxy adds."""
        return str(self.environ.get("SCRIPT_NAME", "")) + path


@dataclass(frozen=True)
class Endpoint:
    """A row of the table of endpoints.

    Args:
        rule: the path with placeholders, in Flask's notation.
        right: the right that the key must have; None if no key is required.
        function: answers a request, or raises one of the errors in `core.errors`.
    """

    method: str
    rule: str
    right: Right | None
    function: Callable[[Exchange], Answer] = field(compare=False)


def json_text(document: str) -> Answer:
    """An answer with a body that is already JSON text."""
    return Answer(document.encode())


def json_object(body: Mapping[str, Any], status: int = 200) -> Answer:
    """An answer with a JSON object as its body."""
    return Answer(jsonio.dumps(body).encode(), status)


def with_etag(answer: Answer, exchange: Exchange) -> Answer:
    """Add an ETag of the body to the answer; 304 without a body if the client already has it.

    If-None-Match is the only condition that is evaluated: Werkzeug would answer If-Match with 412 and a body.
    """
    assert isinstance(answer.body, bytes)
    etag = f'"{generate_etag(answer.body)}"'
    headers = (("ETag", etag), *answer.headers)
    condition = exchange.list_header("If-None-Match")
    # Most clients send the ETag of their last poll as it is: comparing it costs less than parsing a list.
    if condition is not None and (condition == etag or _matches_etag(condition, etag, exchange.method)):
        return Answer(b"", 304, headers)
    return Answer(answer.body, answer.status, headers, answer.content_type)


def _matches_etag(condition: str, etag: str, method: str) -> bool:
    """Whether the value of an If-None-Match header includes the ETag."""
    return not is_resource_modified({"REQUEST_METHOD": method, "HTTP_IF_NONE_MATCH": condition}, etag=etag)
