"""Downloads URLs from client requests, protected against server-side request forgery (SSRF).

No other module opens URLs that clients supply. A host name is resolved once per request, all its addresses are checked,
and the connection is made only to one of these addresses, which prevents DNS rebinding. Each redirect is checked like
the first URL.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from core import errors
from core.context import addresses
from core.settings import Settings

log = logging.getLogger(__name__)

_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES = 64 * 1024
HOST_FAILURE_S = 1.0  # see `Fetcher`
_HOST_FAILURE_MESSAGE = "could not be downloaded: its host is unknown, or is not on the public internet."
# The size limit applies to the bytes received, so the content must not be compressed in transit.
_REQUEST_HEADERS = {"User-Agent": "Backburner", "Accept-Encoding": "identity"}

Resolve = Callable[[str, int], Awaitable[list[str]]]


class DownloadError(Exception):
    """A URL could not be downloaded, or must not be.

    Args:
        kind: `refused` (by policy), `too_large`, `type` (unsupported media type), or `failed`.
        message: a predicate that follows the URL in a sentence, such as "returned status 404."
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Download:
    """The downloaded content of a URL.

    Args:
        media_type: the media type from the server, in lower case and without parameters; empty if there was none.
        name: the last segment of the URL's path, or None if it is empty.
    """

    data: bytes
    media_type: str
    name: str | None


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host name, as resolved by the operating system."""
    results = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(result[4][0]) for result in results))


class Fetcher:
    """Downloads URLs from client requests.

    Args:
        host_failure_s: time in seconds after which a download fails because its host is unknown or not public. If the
            resolution takes longer, the download fails at the next multiple of this time.
    """

    def __init__(
        self, settings: Settings, *, resolve: Resolve = resolve, host_failure_s: float = HOST_FAILURE_S
    ) -> None:
        self._allow_private = settings.fetch_allow_private
        self._host_failure_s = host_failure_s
        self._timeout_s = settings.fetch_timeout_s
        self._resolve = resolve

    async def fetch(self, url: str, *, limit_bytes: int, accepts: Callable[[str], bool]) -> Download:
        """Download the content of a URL.

        Args:
            url: the URL.
            limit_bytes: maximum size of the content.
            accepts: returns whether a media type is acceptable.

        Raises:
            DownloadError: the URL cannot be downloaded, or must not be.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow_redirects(url, limit_bytes, accepts)
        except TimeoutError as error:
            raise DownloadError("failed", f"did not deliver its content within {self._timeout_s:g} s.") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DownloadError("failed", "could not be downloaded: the connection failed.") from error

    async def _follow_redirects(self, url: str, limit_bytes: int, accepts: Callable[[str], bool]) -> Download:
        for _ in range(addresses.REDIRECTS_LIMIT + 1):
            try:
                checked_url = addresses.check_url(url, allow_private=self._allow_private)
            except errors.InvalidRequest as error:
                raise DownloadError("refused", str(error)) from error
            result = await self._request(URL(checked_url, encoded=True), limit_bytes, accepts)
            if isinstance(result, Download):
                return result
            url = result
        raise DownloadError("failed", f"redirects more than {addresses.REDIRECTS_LIMIT} times.")

    async def _request(self, url: URL, limit_bytes: int, accepts: Callable[[str], bool]) -> Download | str:
        """Return the content, or the URL to which the server redirects."""
        pinned_addresses = await self._check_addresses(url)
        connector = aiohttp.TCPConnector(
            resolver=_PinnedResolver(pinned_addresses),
            socket_factory=pinned_addresses.socket,
            use_dns_cache=False,
            force_close=True,
        )
        async with (
            aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False
            ) as session,
            session.get(url, headers=_REQUEST_HEADERS, allow_redirects=False) as answer,
        ):
            if answer.status in _REDIRECT_STATUSES:
                return str(url.join(URL(answer.headers.get("Location", ""))))
            if answer.status != 200:
                raise DownloadError("failed", f"returned status {answer.status}.")
            media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if not accepts(media_type):
                raise DownloadError("type", f"has the media type '{media_type[:100]}', which is not supported.")
            if answer.headers.get("Content-Encoding", "identity").strip().lower() not in {"identity", ""}:
                raise DownloadError("failed", "is compressed, although it was requested uncompressed.")
            return Download(await _read_content(answer, limit_bytes), media_type, url.name or None)

    async def _check_addresses(self, url: URL) -> "PinnedAddresses":
        """Return the addresses of the URL's host.

        Raises:
            DownloadError: the name cannot be resolved, or an address is not public. The message and the time are the
                same in both cases, so that clients cannot learn which internal names exist.
        """
        clock = asyncio.get_running_loop().time
        started_at = clock()
        try:
            return await self._resolve_public(url.host or "", url.port or 0)
        except (OSError, UnicodeError) as error:
            log.info("cannot open the host of a URL", extra={"cause": str(error)})
            await asyncio.sleep(self._host_failure_s - (clock() - started_at) % self._host_failure_s)
            raise DownloadError("failed", _HOST_FAILURE_MESSAGE) from None

    async def _resolve_public(self, host: str, port: int) -> "PinnedAddresses":
        ip_addresses = await self._resolve(host, port)
        if not ip_addresses:
            raise OSError("the host name has no address")
        # Reject the URL if any address is not public: the connection could be made to any of them.
        if not self._allow_private and not all(map(addresses.is_public, ip_addresses)):
            raise OSError("the host name has an address that is not public")
        return PinnedAddresses(frozenset(ip_addresses), port)


@dataclass(frozen=True)
class PinnedAddresses:
    """The checked addresses and the port of a URL, to which its connections are limited."""

    addresses: frozenset[str]
    port: int

    def socket(self, address: Any) -> socket.socket:
        """Create a socket for one of the checked addresses; aiohttp calls this method just before it connects.

        Raises:
            OSError: the address or the port was not checked.
        """
        family, socket_type, protocol, _, target = address
        checked_addresses = {ip_address(text) for text in self.addresses}  # IPv6 addresses have several spellings
        if ip_address(target[0]) not in checked_addresses or target[1] != self.port:
            raise OSError(f"{target[0]} is not an address that was checked")
        return socket.socket(family=family, type=socket_type, proto=protocol)


class _PinnedResolver(AbstractResolver):
    """A resolver that returns the previously checked addresses, whatever the host name."""

    def __init__(self, pinned_addresses: PinnedAddresses) -> None:
        self._pinned_addresses = pinned_addresses

    async def resolve(
        self,
        host: str,
        port: int = 0,  # noqa: ARG002  # aiohttp's signature
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=self._pinned_addresses.port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in sorted(self._pinned_addresses.addresses, key=lambda text: ":" in text)
        ]

    async def close(self) -> None:
        """Do nothing: there are no resources to release."""


async def _read_content(answer: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    too_large = DownloadError("too_large", f"is larger than the {limit_bytes} bytes that are allowed.")
    if (answer.content_length or 0) > limit_bytes:
        raise too_large
    content = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
        content += chunk
        if len(content) > limit_bytes:
            raise too_large
    return bytes(content)
