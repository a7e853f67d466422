"""URL and IP address checks: which URLs this server may open."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from pydantic import ValidationError
from pydantic_core import Url

from core import errors

REDIRECTS_LIMIT = 5
URL_LIMIT = 8192  # characters
_SCHEMES = {"http": 80, "https": 443}
# Ranges that the standard library considers global but no public server uses; Azure's metadata server has a public
# address (168.63.129.16).
_NOT_PUBLIC = tuple(
    map(
        ip_network,
        (
            "192.0.0.0/24",
            "192.88.99.0/24",
            "168.63.129.16/32",
            "64:ff9b:1::/48",
            "2001::/23",
            "3fff::/20",
            "5f00::/16",
        ),
    )
)
# The allocated part of IPv6, which includes 6to4, and the NAT64 prefix. 6to4 and NAT64 addresses embed an IPv4 address.
_GLOBAL_UNICAST = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")
_OURS = ("localhost", "localhost.localdomain", "metadata.google.internal", "metadata")


def is_public(address: str) -> bool:
    """Whether an address, as a socket reports it, is on the public internet.

    An address that embeds another one (IPv4-mapped, NAT64, 6to4) is public only if the embedded address is.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(_is_public(one) for one in _unwrapped(parsed))


def _unwrapped(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    elif address.sixtofour is not None:
        # Whether 2002::/16 itself is global depends on the Python version, so the embedded IPv4 address decides.
        yield address.sixtofour
    else:
        yield address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return not any(address.version == network.version and address in network for network in _NOT_PUBLIC)


def check_url(text: str, *, allow_private: bool) -> str:
    """Check a URL as far as possible without DNS; return it normalized as in browsers, which is the form to open.

    Args:
        allow_private: accept any host and any port.

    Raises:
        errors.InvalidRequest: it is not an http(s) URL, contains credentials, or has a host or port that is not
            allowed. The message begins with a verb, so that the caller can put the location of the URL before it.
    """
    if len(text) > URL_LIMIT:
        raise errors.InvalidRequest(f"is longer than {URL_LIMIT} characters.")
    try:
        url = Url(text)
    except ValidationError as error:
        raise errors.InvalidRequest("is not a URL.") from error
    if url.scheme not in _SCHEMES:
        raise errors.InvalidRequest("is not an http, https or data URL.")
    if url.username or url.password:
        raise errors.InvalidRequest("has a user name or a password in it.")
    host = (url.host or "").strip("[]").rstrip(".")
    if not host:
        raise errors.InvalidRequest("has no host.")
    if not allow_private:
        if url.port != _SCHEMES[url.scheme]:
            raise errors.InvalidRequest("has a port other than 80 for http and 443 for https.")
        if host in _OURS or host.endswith(".localhost") or (_is_address(host) and not is_public(host)):
            raise errors.InvalidRequest("leads to an address that is not on the public internet.")
    return str(url)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
