"""Checks of URLs and IP addresses: whether this server may open a URL."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from pydantic import ValidationError
from pydantic_core import Url

from core import errors

REDIRECTS_LIMIT = 5
URL_LIMIT = 8192  # characters
_DEFAULT_PORTS = {"http": 80, "https": 443}  # by scheme
# Ranges that the standard library considers global, although no public server uses them. 168.63.129.16 is the address
# of Azure's metadata server.
_PRIVATE_NETWORKS = tuple(
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
_INTERNAL_HOSTS = ("localhost", "localhost.localdomain", "metadata.google.internal", "metadata")


def is_public(address: str) -> bool:
    """Whether an address, as a socket reports it, is on the public internet.

    An address that embeds another one (IPv4-mapped, NAT64, 6to4) is public only if the embedded address is.
    """
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return _is_public_address(_embedded_address(ip))


def _embedded_address(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address embeds; return any other address unchanged."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        # Whether 2002::/16 itself is global depends on the Python version, so the embedded IPv4 address decides.
        return address.sixtofour
    return address


def _is_public_address(address: IPv4Address | IPv6Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return not any(address.version == network.version and address in network for network in _PRIVATE_NETWORKS)


def check_url(text: str, *, allow_private: bool) -> str:
    """Check a URL as far as possible without DNS; return the normalized URL, which the caller must open.

    Args:
        allow_private: accept any host and any port.

    Raises:
        errors.InvalidRequest: it is not an http(s) URL, contains credentials, or has a forbidden host or port. The
            message begins with a verb, so that the caller can put the location of the URL before it.
    """
    if len(text) > URL_LIMIT:
        raise errors.InvalidRequest(f"is longer than {URL_LIMIT} characters.")
    try:
        url = Url(text)
    except ValidationError as error:
        raise errors.InvalidRequest("is not a URL.") from error
    if url.scheme not in _DEFAULT_PORTS:
        raise errors.InvalidRequest("is not an http, https or data URL.")
    if url.username or url.password:
        raise errors.InvalidRequest("has a user name or a password in it.")
    host = (url.host or "").strip("[]").rstrip(".")
    if not host:
        raise errors.InvalidRequest("has no host.")
    if not allow_private:
        if url.port != _DEFAULT_PORTS[url.scheme]:
            raise errors.InvalidRequest("has a port other than 80 for http and 443 for https.")
        if host in _INTERNAL_HOSTS or host.endswith(".localhost") or (_is_address(host) and not is_public(host)):
            raise errors.InvalidRequest("leads to an address that is not on the public internet.")
    return str(url)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
