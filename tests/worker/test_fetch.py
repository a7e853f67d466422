"""The fetcher on real sockets: it downloads public URLs, and never connects to an address that the policy refuses."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM
from typing import Any

import pytest
from yarl import URL

from core.context import addresses
from core.settings import Settings
from tests.contract.media import INVALID_URLS, PRIVATE_URLS
from tests.harness import file_server
from tests.harness.file_server import FileReply, FileServer, redirect
from worker.fetch.client import HOST_FAILURE_S, Download, DownloadError, Fetcher, PinnedAddresses

PRIVATE_ADDRESSES = [
    "127.0.0.1",
    "127.8.9.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.31.0.1",
    "192.168.0.1",
    "100.127.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.251",
    "240.0.0.1",
    "255.255.255.255",
    "192.88.99.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%lo",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "2001::1",
    "3fff::1",
    "5f00::1",
    "100::1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::808:808",
    "2002:a00:1::1",
    "not-an-address",
]
PUBLIC_ADDRESSES = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]

_connection_lists: list[list[Any]] = []


def _record_connection(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        _, address = arguments
        for connections in _connection_lists:
            connections.append(address[:2])


sys.addaudithook(_record_connection)


@pytest.fixture
def connections() -> Iterator[list[Any]]:
    """The list of all (address, port) pairs to which this process connects a socket during the test."""
    connections: list[Any] = []
    _connection_lists.append(connections)
    yield connections
    _connection_lists.clear()


@pytest.fixture
def files() -> Iterator[FileServer]:
    with file_server.running() as server:
        yield server


class Dns:
    """A resolver that returns the answers for a name in order, and then repeats the last answer."""

    def __init__(self, **names: list[list[str]]) -> None:
        self.names = names
        self.lookups: list[str] = []

    async def __call__(self, host: str, _port: int) -> list[str]:
        self.lookups.append(host)
        answers = self.names.get(host.partition(".")[0])
        if answers is None:
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]


class LocalFetcher(Fetcher):
    """A fetcher that resolves `outside.test` to the file server of the test, as if its address were public."""

    def __init__(self, files: FileServer, dns: Dns | None = None, **settings: Any) -> None:
        super().__init__(Settings(**{"fetch_timeout_s": 3, **settings}), resolve=dns or Dns(), host_failure_s=0.001)
        self._files = files

    async def _check_addresses(self, url: URL) -> PinnedAddresses:
        if url.host == "outside.test":
            return PinnedAddresses(frozenset({"127.0.0.1"}), self._files.port)
        return await super()._check_addresses(url)


def fetch(
    fetcher: Fetcher, url: str, limit_bytes: int = 1000, accepts: Callable[[str], bool] = lambda _: True
) -> Download:
    return asyncio.run(fetcher.fetch(url, limit_bytes=limit_bytes, accepts=accepts))


def fetch_error(fetcher: Fetcher, url: str, **options: Any) -> str:
    """Fetch a URL, which must fail; return the kind of the error."""
    with pytest.raises(DownloadError) as raised:
        fetch(fetcher, url, **options)
    assert str(raised.value).endswith(".")
    return raised.value.kind


def test_the_content_of_a_public_url_is_fetched(files: FileServer, connections: list[Any]) -> None:
    files.replies["/a/b.png"] = FileReply(b"content", "Image/PNG; charset=x")

    assert fetch(LocalFetcher(files), "http://outside.test/a/b.png?x=%2F") == Download(b"content", "image/png", "b.png")
    assert connections == [("127.0.0.1", files.port)]  # this also tests the audit hook
    assert files.request_log[0][0] == "/a/b.png?x=%2F"


def test_any_host_and_port_is_fetched_if_private_addresses_are_allowed(files: FileServer) -> None:
    files.replies["/a"] = FileReply(b"content")

    assert fetch(Fetcher(Settings(fetch_allow_private=True)), f"{files.url}/a").data == b"content"


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_public_addresses_are_recognized(address: str) -> None:
    assert addresses.is_public(address)


@pytest.mark.parametrize("url", [*PRIVATE_URLS, *(url for _, url in INVALID_URLS)])
def test_the_fetcher_does_not_connect_to_a_refused_url(url: str, files: FileServer, connections: list[Any]) -> None:
    assert fetch_error(LocalFetcher(files, Dns(localhost=[["127.0.0.1"]])), url) == "refused"
    assert connections == []


@pytest.mark.parametrize("address", PRIVATE_ADDRESSES)
def test_the_fetcher_does_not_connect_to_a_name_with_a_refused_address(
    address: str, files: FileServer, connections: list[Any]
) -> None:
    for answer in ([address], ["93.184.216.34", address]):
        assert fetch_error(LocalFetcher(files, Dns(inner=[answer])), "http://inner.test/") == "failed"
    assert connections == []


@pytest.mark.parametrize("status", [302, 308])
@pytest.mark.parametrize(
    "url", [*PRIVATE_URLS, *(url for _, url in INVALID_URLS if "://" in url), "http://inner.test/"]
)
def test_a_redirect_to_a_refused_url_is_not_followed(
    url: str, status: int, files: FileServer, connections: list[Any]
) -> None:
    files.replies["/"] = redirect("http://outside.test/again")
    files.replies["/again"] = redirect(url.encode("ascii", "ignore").decode(), status)

    kind = fetch_error(LocalFetcher(files, Dns(inner=[["10.0.0.1"]])), "http://outside.test/")

    # In a redirect, text that is not an absolute URL is a path on the same server, where no file exists.
    assert kind in {"refused", "failed"}
    assert set(connections) == {("127.0.0.1", files.port)}


def test_the_fetcher_connects_to_the_checked_address_even_if_the_dns_answer_changes(
    files: FileServer, connections: list[Any]
) -> None:
    files.replies["/a"] = FileReply(b"content")
    dns = Dns(changing=[["127.0.0.1"], ["127.0.0.2"]])
    fetcher = Fetcher(Settings(fetch_allow_private=True), resolve=dns)

    assert fetch(fetcher, f"http://changing.test:{files.port}/a").data == b"content"
    assert dns.lookups == ["changing.test"]
    assert connections == [("127.0.0.1", files.port)]


def test_a_name_that_becomes_private_before_a_redirect_to_it_is_refused(
    files: FileServer, connections: list[Any]
) -> None:
    class ChangingFetcher(LocalFetcher):
        async def _check_addresses(self, url: URL) -> PinnedAddresses:
            if files.request_log:
                return await Fetcher._check_addresses(self, url)  # without the exception for `outside.test`
            return await super()._check_addresses(url)

    files.replies["/"] = redirect("http://outside.test/inside")

    assert fetch_error(ChangingFetcher(files, Dns(outside=[["127.0.0.1"]])), "http://outside.test/") == "failed"
    assert connections == [("127.0.0.1", files.port)]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "93.184.216.35"])
def test_no_socket_is_created_for_an_unchecked_address(address: str) -> None:
    pinned_addresses = PinnedAddresses(frozenset({"93.184.216.34", "2606:4700::1111"}), 80)

    for port in (80, 443):
        with pytest.raises(OSError, match="not an address that was checked"):
            pinned_addresses.socket((AF_INET, SOCK_STREAM, IPPROTO_TCP, "", (address, port)))
    with pytest.raises(OSError, match="not an address that was checked"):
        pinned_addresses.socket((AF_INET, SOCK_STREAM, IPPROTO_TCP, "", ("93.184.216.34", 443)))
    pinned_addresses.socket((AF_INET6, SOCK_STREAM, IPPROTO_TCP, "", ("2606:4700:0::1111", 80, 0, 0))).close()


def test_the_number_of_redirects_is_limited(files: FileServer) -> None:
    for hop in range(10):
        files.replies[f"/{hop}"] = redirect(f"/{hop + 1}")
    files.replies["/10"] = FileReply(b"content")

    assert fetch(LocalFetcher(files), "http://outside.test/5").data == b"content"
    assert fetch_error(LocalFetcher(files), "http://outside.test/4") == "failed"
    files.replies["/loop"] = redirect("loop")
    assert fetch_error(LocalFetcher(files), "http://outside.test/loop") == "failed"


REQUEST_HEADERS = {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}
INVALID_REPLIES = {
    "a missing file": (FileReply(status=404), "failed"),
    "an error": (FileReply(status=500), "failed"),
    "no content": (FileReply(status=204, sends_length=False), "failed"),
    "a redirect to nowhere": (FileReply(status=302), "failed"),
    "a redirect to a broken URL": (redirect("http://[::1"), "failed"),
    "too much content, declared": (FileReply(b"x" * 1001), "too_large"),
    "too much content, without a length": (FileReply(b"x" * 1000, sends_length=False, repeat=100_000), "too_large"),
    "compressed content": (FileReply(b"x", headers={"Content-Encoding": "gzip"}), "failed"),
    "too little content": (FileReply(b"x", headers={"Content-Length": "500"}), "failed"),
    "an endless header": (FileReply(headers={"X": "x" * 100_000}), "failed"),
    "a refused media type": (FileReply(b"x", "text/html"), "type"),
}


@pytest.mark.parametrize(("reply", "kind"), INVALID_REPLIES.values(), ids=INVALID_REPLIES)
def test_an_invalid_reply_raises_an_error(reply: FileReply, kind: str, files: FileServer) -> None:
    files.replies["/a"] = reply

    fetcher = LocalFetcher(files)
    error_kind = fetch_error(fetcher, "http://outside.test/a", accepts=lambda media_type: media_type != "text/html")

    assert error_kind == kind


def test_a_stalled_reply_after_a_redirect_raises_an_error_after_the_timeout(files: FileServer) -> None:
    files.replies["/"] = redirect("/a")
    files.replies["/a"] = FileReply(b"x" * 10, stalls=True)

    assert fetch_error(LocalFetcher(files, fetch_timeout_s=0.3), "http://outside.test/") == "failed"


def test_an_unknown_host_name_raises_an_error(files: FileServer, connections: list[Any]) -> None:
    assert fetch_error(LocalFetcher(files), "http://nobody.test/") == "failed"
    assert fetch_error(LocalFetcher(files, Dns(nobody=[[]])), "http://nobody.test/") == "failed"
    assert connections == []


@pytest.mark.parametrize("redirects", [False, True])
def test_an_unknown_name_and_a_private_name_cannot_be_distinguished(
    redirects: bool, files: FileServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    errors, causes = set(), []
    for name, answers in (("nobody", None), ("empty", []), ("inner", ["10.0.0.1"]), ("mixed", ["1.1.1.1", "::1"])):
        files.replies["/"] = redirect(f"http://{name}.test/")
        fetcher = LocalFetcher(files, Dns(**({} if answers is None else {name: [answers]})))
        with pytest.raises(DownloadError) as raised:
            fetch(fetcher, "http://outside.test/" if redirects else f"http://{name}.test/")
        errors.add((raised.value.kind, str(raised.value), raised.value.__cause__))
        causes += [record.cause for record in caplog.records]
        assert f"{name}.test" not in caplog.text
        caplog.clear()

    assert len(errors) == 1
    assert causes == [
        "no such name",
        "the host name has no address",
        *["the host name has an address that is not public"] * 2,
    ]


def test_a_host_failure_is_reported_after_the_same_time() -> None:
    resolution_s = 0.2

    class SlowDns(Dns):
        async def __call__(self, host: str, port: int) -> list[str]:
            await asyncio.sleep(resolution_s if host == "inner.test" else 0)
            return await super().__call__(host, port)

    async def time_failure(name: str) -> float:
        fetcher = Fetcher(Settings(), resolve=SlowDns(inner=[["10.0.0.1"]]))
        started_at = time.monotonic()
        with pytest.raises(DownloadError):
            await fetcher.fetch(f"http://{name}.test/", limit_bytes=1, accepts=lambda _: True)
        return time.monotonic() - started_at

    async def time_failures() -> list[float]:
        return await asyncio.gather(time_failure("nobody"), time_failure("inner"))

    durations = asyncio.run(time_failures())

    assert min(durations) >= HOST_FAILURE_S
    assert abs(durations[0] - durations[1]) < resolution_s / 2


def test_requests_contain_only_the_necessary_headers_and_no_cookies(files: FileServer) -> None:
    files.replies["/"] = FileReply(status=302, headers={"Location": "/a", "Set-Cookie": "a=b"})
    files.replies["/a"] = FileReply(b"content")

    fetch(LocalFetcher(files), "http://outside.test/")

    assert [headers.keys() for _, headers in files.request_log] == [REQUEST_HEADERS] * 2


def test_proxies_of_the_environment_are_not_used(
    files: FileServer, connections: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    files.replies["/a"] = FileReply(b"content")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    with suppress(DownloadError):
        fetch(LocalFetcher(files), "http://outside.test/a")

    assert connections == [("127.0.0.1", files.port)]
