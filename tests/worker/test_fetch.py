"""The guarded fetcher on real sockets: what it opens, and that it never connects to an address that policy refuses."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from yarl import URL

from core.context import addresses
from core.settings import Settings
from tests.contract.media import NOT_OPENED, PRIVATE
from tests.harness import file_server
from tests.harness.file_server import FileServer, Given, redirect
from worker.fetch.client import Fetched, Fetcher, Pins, Unfetched

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

_watching: list[list[Any]] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        for seen in _watching:
            seen.append(arguments[1][:2])


sys.addaudithook(_watch)


@pytest.fixture
def connects() -> Iterator[list[Any]]:
    """Every (address, port) to which this process connects a socket."""
    seen: list[Any] = []
    _watching.append(seen)
    yield seen
    _watching.clear()


@pytest.fixture
def files() -> Iterator[FileServer]:
    with file_server.running() as found:
        yield found


class Dns:
    """A resolver that returns the answers of a name in order, and then repeats the last one."""

    def __init__(self, **names: list[list[str]]) -> None:
        self.names = names
        self.asked: list[str] = []

    async def __call__(self, host: str, _port: int) -> list[str]:
        self.asked.append(host)
        answers = self.names.get(host.partition(".")[0])
        if answers is None:
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]


class Outside(Fetcher):
    """A fetcher that treats `outside.test` as a public server: the file server of the test."""

    def __init__(self, files: FileServer, dns: Dns | None = None, **settings: Any) -> None:
        super().__init__(Settings(**{"fetch_timeout_s": 3, **settings}), resolve=dns or Dns())
        self._files = files

    async def _addresses(self, url: URL) -> Pins:
        if url.host == "outside.test":
            return Pins(frozenset({"127.0.0.1"}), self._files.port)
        return await super()._addresses(url)


def fetch(fetcher: Fetcher, url: str, limit: int = 1000, takes: Callable[[str], bool] = lambda _: True) -> Fetched:
    return asyncio.run(fetcher.fetch(url, limit_bytes=limit, takes=takes))


def refused(fetcher: Fetcher, url: str, **more: Any) -> str:
    """Fetch a URL, which must be refused; return the kind of the refusal."""
    with pytest.raises(Unfetched) as caught:
        fetch(fetcher, url, **more)
    assert str(caught.value).endswith(".")
    return caught.value.kind


def test_what_is_behind_a_public_url_is_fetched(files: FileServer, connects: list[Any]) -> None:
    files.paths["/a/b.png"] = Given(b"content", "Image/PNG; charset=x")

    assert fetch(Outside(files), "http://outside.test/a/b.png?x=%2F") == Fetched(b"content", "image/png", "b.png")
    assert connects == [("127.0.0.1", files.port)]  # proves that the hook sees aiohttp's connections
    assert files.asked[0][0] == "/a/b.png?x=%2F"


def test_with_leave_for_private_addresses_any_host_and_port_is_fetched(files: FileServer) -> None:
    files.paths["/a"] = Given(b"content")

    assert fetch(Fetcher(Settings(fetch_allow_private=True)), f"{files.url}/a").data == b"content"


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_a_public_address_is_public(address: str) -> None:
    assert addresses.is_public(address)


@pytest.mark.parametrize("url", [*PRIVATE, *(url for _, url in NOT_OPENED)])
def test_a_url_that_is_refused_is_never_connected_to(url: str, files: FileServer, connects: list[Any]) -> None:
    assert refused(Outside(files, Dns(localhost=[["127.0.0.1"]])), url) == "refused"
    assert connects == []


@pytest.mark.parametrize("address", PRIVATE_ADDRESSES)
def test_a_name_that_leads_to_a_refused_address_is_never_connected_to(
    address: str, files: FileServer, connects: list[Any]
) -> None:
    for answer in ([address], ["93.184.216.34", address]):
        assert refused(Outside(files, Dns(inner=[answer])), "http://inner.test/") == "refused"
    assert connects == []


@pytest.mark.parametrize("status", [302, 308])
@pytest.mark.parametrize("url", [*PRIVATE, *(url for _, url in NOT_OPENED if "://" in url), "http://inner.test/"])
def test_a_redirect_to_what_is_refused_is_not_followed(
    url: str, status: int, files: FileServer, connects: list[Any]
) -> None:
    files.paths["/"] = redirect("http://outside.test/again")
    files.paths["/again"] = redirect(url.encode("ascii", "ignore").decode(), status)

    kind = refused(Outside(files, Dns(inner=[["10.0.0.1"]])), "http://outside.test/")

    # In a redirect, text that is not an absolute URL is a path on the same server, where no file exists.
    assert kind in {"refused", "failed"}
    assert set(connects) == {("127.0.0.1", files.port)}


def test_a_name_whose_answer_changes_is_connected_to_where_it_was_checked(
    files: FileServer, connects: list[Any]
) -> None:
    files.paths["/a"] = Given(b"content")
    dns = Dns(changing=[["127.0.0.1"], ["127.0.0.2"]])
    fetcher = Fetcher(Settings(fetch_allow_private=True), resolve=dns)

    assert fetch(fetcher, f"http://changing.test:{files.port}/a").data == b"content"
    assert dns.asked == ["changing.test"]
    assert connects == [("127.0.0.1", files.port)]


def test_a_name_that_turns_inside_between_two_redirects_is_refused(files: FileServer, connects: list[Any]) -> None:
    class Turning(Outside):
        async def _addresses(self, url: URL) -> Pins:
            return await (super() if not files.asked else super(Outside, self))._addresses(url)

    files.paths["/"] = redirect("http://outside.test/inside")

    assert refused(Turning(files, Dns(outside=[["127.0.0.1"]])), "http://outside.test/") == "refused"
    assert connects == [("127.0.0.1", files.port)]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "93.184.216.35"])
def test_no_socket_is_made_for_an_address_that_was_not_checked(address: str) -> None:
    pins = Pins(frozenset({"93.184.216.34", "2606:4700::1111"}), 80)

    for port in (80, 443):
        with pytest.raises(OSError, match="not an address that was checked"):
            pins.socket((2, 1, 6, "", (address, port)))
    with pytest.raises(OSError, match="not an address that was checked"):
        pins.socket((2, 1, 6, "", ("93.184.216.34", 443)))
    pins.socket((10, 1, 6, "", ("2606:4700:0::1111", 80, 0, 0))).close()


def test_redirects_end(files: FileServer) -> None:
    for hop in range(10):
        files.paths[f"/{hop}"] = redirect(f"/{hop + 1}")
    files.paths["/10"] = Given(b"content")

    assert fetch(Outside(files), "http://outside.test/5").data == b"content"
    assert refused(Outside(files), "http://outside.test/4") == "failed"
    files.paths["/loop"] = redirect("loop")
    assert refused(Outside(files), "http://outside.test/loop") == "failed"


ASKED_WITH = {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}
FAULTS = {
    "a missing file": (Given(status=404), "failed"),
    "an error": (Given(status=500), "failed"),
    "no content": (Given(status=204, says_length=False), "failed"),
    "a redirect to nowhere": (Given(status=302), "failed"),
    "a redirect to a broken URL": (redirect("http://[::1"), "failed"),
    "too much, as it says": (Given(b"x" * 1001), "too_large"),
    "too much, without a length": (Given(b"x" * 1000, says_length=False, repeat=100_000), "too_large"),
    "packed content": (Given(b"x", headers={"Content-Encoding": "gzip"}), "failed"),
    "too little": (Given(b"x", headers={"Content-Length": "500"}), "failed"),
    "an endless header": (Given(headers={"X": "x" * 100_000}), "failed"),
    "another type": (Given(b"x", "text/html"), "type"),
}


@pytest.mark.parametrize(("given", "kind"), FAULTS.values(), ids=FAULTS)
def test_a_server_that_misbehaves_is_left(given: Given, kind: str, files: FileServer) -> None:
    files.paths["/a"] = given

    assert refused(Outside(files), "http://outside.test/a", takes=lambda said: said != "text/html") == kind


def test_a_server_that_does_not_end_is_left_in_time(files: FileServer) -> None:
    files.paths["/a"] = Given(b"x" * 10, stalls=True)
    files.paths["/many"] = redirect("/a")

    assert refused(Outside(files, fetch_timeout_s=0.3), "http://outside.test/many") == "failed"


def test_a_name_that_nobody_has_is_not_found(files: FileServer, connects: list[Any]) -> None:
    assert refused(Outside(files), "http://nobody.test/") == "failed"
    assert refused(Outside(files, Dns(nobody=[[]])), "http://nobody.test/") == "failed"
    assert connects == []


def test_nothing_of_ours_or_of_other_servers_is_sent_along(files: FileServer) -> None:
    files.paths["/"] = Given(status=302, headers={"Location": "/a", "Set-Cookie": "a=b"})
    files.paths["/a"] = Given(b"content")

    fetch(Outside(files), "http://outside.test/")

    assert [headers.keys() for _, headers in files.asked] == [ASKED_WITH] * 2


def test_proxies_of_the_environment_are_not_asked(
    files: FileServer, connects: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    files.paths["/a"] = Given(b"content")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    with suppress(Unfetched):
        fetch(Outside(files), "http://outside.test/a")

    assert connects == [("127.0.0.1", files.port)]
