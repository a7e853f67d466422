"""Downloads URLs from client requests, protected against server-side request forgery (SSRF).

No other module opens URLs that clients supply. A host name is resolved once per hop, all its addresses are checked, and
the connection is made only to one of these addresses, which prevents DNS rebinding. Each redirect is checked like the
first URL.
"""

import asyncio
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

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 64 * 1024
# The size limit applies to the bytes received, so the content must not be compressed in transit.
_HEADERS = {"User-Agent": "Backburner", "Accept-Encoding": "identity"}

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Unfetched(Exception):
    """A URL was not downloaded.

    Args:
        kind: `refused` (by policy), `too_large`, `type` (media type not supported), or `failed`.
        words: the message. It begins with a verb whose subject is the URL.
    """

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(words)
        self.kind = kind


@dataclass(frozen=True)
class Fetched:
    """The downloaded content of a URL.

    Args:
        media_type: the media type that the server sent, in lower case and without parameters; empty if it sent none.
        name: the last segment of the URL's path, or None if it is empty.
    """

    data: bytes
    media_type: str
    name: str | None


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host name, as resolved by the operating system."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class Fetcher:
    """Downloads URLs from client requests."""

    def __init__(self, settings: Settings, *, resolve: Resolve = resolve) -> None:
        self._allow_private = settings.fetch_allow_private
        self._timeout_s = settings.fetch_timeout_s
        self._resolve = resolve

    async def fetch(self, text: str, *, limit_bytes: int, takes: Callable[[str], bool]) -> Fetched:
        """Download the content of a URL.

        Args:
            text: the URL.
            limit_bytes: maximum size of the content.
            takes: returns whether a media type is accepted.

        Raises:
            Unfetched: the URL cannot be downloaded, or must not be.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(text, limit_bytes, takes)
        except TimeoutError as error:
            raise Unfetched("failed", f"did not deliver its content within {self._timeout_s:g} s.") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unfetched("failed", "could not be downloaded: the connection failed.") from error

    async def _follow(self, text: str, limit_bytes: int, takes: Callable[[str], bool]) -> Fetched:
        for _ in range(addresses.REDIRECTS_LIMIT + 1):
            try:
                url = addresses.check_url(text, allow_private=self._allow_private)
            except errors.InvalidRequest as error:
                raise Unfetched("refused", str(error)) from error
            there = await self._get(URL(url, encoded=True), limit_bytes, takes)
            if isinstance(there, Fetched):
                return there
            text = there
        raise Unfetched("failed", f"redirects more than {addresses.REDIRECTS_LIMIT} times.")

    async def _get(self, url: URL, limit_bytes: int, takes: Callable[[str], bool]) -> Fetched | str:
        """Return the content, or the URL that the server redirects to."""
        pins = await self._addresses(url)
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(pins), socket_factory=pins.socket, use_dns_cache=False, force_close=True
        )
        async with (
            aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False
            ) as session,
            session.get(url, headers=_HEADERS, allow_redirects=False) as answer,
        ):
            if answer.status in _REDIRECTS:
                return str(url.join(URL(answer.headers.get("Location", ""))))
            if answer.status != 200:
                raise Unfetched("failed", f"returned status {answer.status}.")
            media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if not takes(media_type):
                raise Unfetched("type", f"has the media type '{media_type[:100]}', which is not supported.")
            if answer.headers.get("Content-Encoding", "identity").strip().lower() not in {"identity", ""}:
                raise Unfetched("failed", "is compressed, although it was requested uncompressed.")
            return Fetched(await _read(answer, limit_bytes), media_type, url.name or None)

    async def _addresses(self, url: URL) -> "Pins":
        host, port = url.host or "", url.port or 0
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise Unfetched("failed", "has a host name that cannot be resolved.") from error
        if not found:
            raise Unfetched("failed", "has a host name that cannot be resolved.")
        # Reject the URL if any address is not public: the connection could be made to any of them.
        if not self._allow_private and not all(map(addresses.is_public, found)):
            raise Unfetched("refused", "leads to an address that is not on the public internet.")
        return Pins(frozenset(found), port)


@dataclass(frozen=True)
class Pins:
    """The checked addresses and the port; sockets are created for no others."""

    addresses: frozenset[str]
    port: int

    def socket(self, address: Any) -> socket.socket:
        """Create a socket for one of the addresses; aiohttp calls this just before it connects.

        Raises:
            OSError: the address or the port is not one of those that were checked.
        """
        family, kind, protocol, _, there = address
        checked = {ip_address(one) for one in self.addresses}  # IPv6 addresses have several spellings
        if ip_address(there[0]) not in checked or there[1] != self.port:
            raise OSError(f"{there[0]} is not an address that was checked")
        return socket.socket(family=family, type=kind, proto=protocol)


class _Pinned(AbstractResolver):
    """A resolver that returns the addresses that were resolved and checked before."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins

    async def resolve(
        self,
        host: str,
        port: int = 0,  # noqa: ARG002  # aiohttp's signature
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=one,
                port=self._pins.port,
                family=socket.AF_INET6 if ":" in one else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for one in sorted(self._pins.addresses, key=lambda one: ":" in one)
        ]

    async def close(self) -> None:
        """Do nothing: there are no resources to release."""


async def _read(answer: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    too_large = Unfetched("too_large", f"is larger than the {limit_bytes} bytes that are allowed.")
    if (answer.content_length or 0) > limit_bytes:
        raise too_large
    content = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK):
        content += chunk
        if len(content) > limit_bytes:
            raise too_large
    return bytes(content)
