"""Compressed bodies, reverse proxies, and browsers with other origins."""

import gzip
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from werkzeug.test import Client

from app import create_app
from core.bootstrap import open_core
from core.settings import Settings
from tests.http.http_api import GOOD, Api, error_of

BODY = json.dumps(GOOD).encode()
PACKED = gzip.compress(BODY)
ORIGIN = "https://ui.example"
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}


def packed(api: Api, body: bytes):
    return api.post(body, headers={"Content-Encoding": "gzip"})


def repeated(head: bytes, piece: bytes, times: int) -> bytes:
    """What gzip produces for `head + piece * times`, although the piece is compressed only once."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    beginning, middle = (packer.compress(part) + packer.flush(zlib.Z_FULL_FLUSH) for part in (head, piece))
    checksum = zlib.crc32(head)
    for _ in range(times):
        checksum = zlib.crc32(piece, checksum)
    sizes = struct.pack("<LL", checksum, (len(head) + len(piece) * times) % 2**32)
    return gzip.compress(b"")[:10] + beginning + middle * times + packer.flush() + sizes


def changed(api: Api, **settings: object) -> Iterator[Client]:
    with open_core(api.core.settings.model_copy(update=settings)) as core:
        yield create_app(core).test_client()


@pytest.fixture
def open_to(api: Api) -> Iterator[Client]:
    yield from changed(api, cors_origins=f"{ORIGIN}, http://localhost:3000")


@pytest.fixture
def behind_one(api: Api) -> Iterator[Client]:
    yield from changed(api, trusted_proxies=1)


def test_a_body_packed_with_gzip_is_as_good_as_a_plain_one(api: Api) -> None:
    assert packed(api, PACKED).get_json()["status"] == "queued"


@pytest.mark.parametrize(
    "body",
    [b"", BODY, PACKED[:-9], PACKED + PACKED, PACKED + b"x", zlib.compress(BODY), PACKED[:-8] + b"\0" * 8],
    ids=["nothing", "plain", "cut", "two", "more", "zlib", "wrong sum"],
)
def test_what_is_not_one_whole_stream_of_gzip_is_refused_and_nothing_is_stored(api: Api, body: bytes) -> None:
    before = api.stored()

    error_of(packed(api, body), 400, "invalid_value")
    assert api.stored() == before


def test_a_bomb_is_refused_at_the_limit_of_bodies_and_not_unpacked(api: Api) -> None:
    limit = api.core.settings.body_limit_bytes
    bomb = repeated(b'{"model":"scripted","input":"', b"a" * limit, 30)
    assert len(bomb) < limit // 20
    before = api.stored()

    error_of(packed(api, bomb), 413, "request_too_large")
    assert api.stored() == before


def test_no_browser_of_another_origin_is_let_in_where_no_origin_is_named(api: Api) -> None:
    preflight = api.client.open("/v1/responses", method="OPTIONS", headers=PREFLIGHT)
    answer = api.ask("GET", "/v1/models", headers={"Origin": ORIGIN})

    error_of(preflight, 401, "invalid_api_key")
    for one in (preflight, answer):
        assert not [name for name, _ in one.headers if name.startswith("Access-Control")]


def test_an_answer_to_nobodys_page_may_not_be_kept_for_one_that_is_allowed(api: Api, open_to: Client) -> None:
    poll = open_to.get(f"/v1/responses/{api.created()['id']}", headers={"Authorization": f"Bearer {api.key}"})

    assert poll.status_code == 200
    assert "Origin" in poll.vary


def test_a_browser_of_a_named_origin_asks_first_without_a_key_and_then_with_one(api: Api, open_to: Client) -> None:
    preflight = open_to.open("/v1/responses", method="OPTIONS", headers=PREFLIGHT)
    key = {"Authorization": f"Bearer {api.key}"}

    assert preflight.status_code == 204
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    for answer in (
        preflight,
        open_to.get("/v1/models", headers={"Origin": ORIGIN} | key),
        open_to.get("/v1/models", headers={"Origin": ORIGIN}),  # lets a page read why it is refused
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "Origin" in answer.vary
        assert "x-request-id" in answer.headers
    assert open_to.get("/v1/models", headers={"Origin": ORIGIN}).status_code == 401


@pytest.mark.parametrize(
    "origin", ["https://ui.example.evil", "http://ui.example", "null", "https://ui.example:444", "*"]
)
def test_a_browser_of_an_origin_that_is_not_named_is_told_nothing(open_to: Client, origin: str) -> None:
    preflight = open_to.open("/v1/responses", method="OPTIONS", headers=PREFLIGHT | {"Origin": origin})

    assert preflight.status_code == 401
    assert "Access-Control-Allow-Origin" not in preflight.headers
    # An OPTIONS request that is not a preflight needs a key, whatever its origin.
    assert open_to.open("/v1/responses", method="OPTIONS", headers={"Origin": ORIGIN}).status_code == 401


@pytest.mark.parametrize("origins", ["ui.example", "https://ui.example/", "https://a.example,ftp://b"])
def test_what_is_no_origin_is_refused_when_the_settings_are_read(origins: str) -> None:
    with pytest.raises(ValidationError, match="is not an origin"):
        Settings(cors_origins=origins)


def test_what_a_client_says_of_proxies_is_believed_only_as_far_as_there_are_trusted_ones(
    api: Api, behind_one: Client
) -> None:
    said = {"X-Forwarded-Prefix": "/evil, /good", "X-Forwarded-Host": "evil, good", "X-Forwarded-For": "9.9.9.9"}

    assert "evil" not in api.client.get("/docs", headers=said).text + str(api.client.get("/docs", headers=said).headers)
    assert 'href="/docs' in api.client.get("/docs", headers=said).text
    assert 'href="/good/docs' in behind_one.get("/docs", headers=said).text
    assert "evil" not in behind_one.get("/docs", headers=said).text


def test_the_image_runs_as_a_user_who_is_not_root() -> None:
    lines = (Path(__file__).resolve().parents[2] / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]

    assert users
    assert users[-1] not in {"root", "0"}
    assert [line for line in lines if "--uid" in line or "useradd" in line or "adduser" in line]
    last = max(place for place, line in enumerate(lines) if line.startswith("USER "))
    assert not [line for line in lines[last:] if line.startswith("RUN ")]
