"""Effects of request headers: compressed bodies, cross-origin requests of browsers, and reverse proxies."""

import gzip
import json
import struct
import zlib
from collections.abc import Iterator

import pytest
from pydantic import ValidationError
from werkzeug.test import Client

from app import create_app
from core.bootstrap import open_core
from core.settings import Settings
from tests.http.http_api import VALID_REQUEST, Api, check_error

BODY = json.dumps(VALID_REQUEST).encode()
COMPRESSED_BODY = gzip.compress(BODY)
ORIGIN = "https://ui.example"
PREFLIGHT_HEADERS = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}


def post_compressed(api: Api, body: bytes):
    return api.post_body(body, headers={"Content-Encoding": "gzip"})


def compress_repetition(start: bytes, unit: bytes, count: int) -> bytes:
    """Build a gzip stream that expands to `start + unit * count`; compress `unit` only once, to save time."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    beginning, middle = (compressor.compress(part) + compressor.flush(zlib.Z_FULL_FLUSH) for part in (start, unit))
    checksum = zlib.crc32(start)
    for _ in range(count):
        checksum = zlib.crc32(unit, checksum)
    trailer = struct.pack("<LL", checksum, (len(start) + len(unit) * count) % 2**32)
    return gzip.compress(b"")[:10] + beginning + middle * count + compressor.flush() + trailer


def client_with_settings(api: Api, **settings: object) -> Iterator[Client]:
    with open_core(api.core.settings.model_copy(update=settings)) as core:
        yield create_app(core).test_client()


@pytest.fixture
def cors_client(api: Api) -> Iterator[Client]:
    yield from client_with_settings(api, cors_origins=f"{ORIGIN}, http://localhost:3000")


@pytest.fixture
def proxied_client(api: Api) -> Iterator[Client]:
    yield from client_with_settings(api, trusted_proxies=1)


def test_a_gzip_body_is_accepted(api: Api) -> None:
    assert post_compressed(api, COMPRESSED_BODY).get_json()["status"] == "queued"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        BODY,
        COMPRESSED_BODY[:-9],
        COMPRESSED_BODY + COMPRESSED_BODY,
        COMPRESSED_BODY + b"x",
        zlib.compress(BODY),
        COMPRESSED_BODY[:-8] + b"\0" * 8,
    ],
    ids=["empty", "not compressed", "truncated", "two streams", "trailing data", "zlib", "wrong checksum"],
)
def test_an_invalid_gzip_body_is_rejected_and_nothing_is_stored(api: Api, body: bytes) -> None:
    row_counts = api.count_rows()

    check_error(post_compressed(api, body), 400, "invalid_value")
    assert api.count_rows() == row_counts


def test_a_decompression_bomb_is_rejected_at_the_body_limit(api: Api) -> None:
    limit = api.core.settings.body_limit_bytes
    bomb = compress_repetition(b'{"model":"scripted","input":"', b"a" * limit, 30)
    assert len(bomb) < limit // 20
    row_counts = api.count_rows()

    check_error(post_compressed(api, bomb), 413, "request_too_large")
    assert api.count_rows() == row_counts


def test_without_configured_origins_no_answer_has_cors_headers(api: Api) -> None:
    preflight = api.client.open("/v1/responses", method="OPTIONS", headers=PREFLIGHT_HEADERS)
    answer = api.send_request("GET", "/v1/models", headers={"Origin": ORIGIN})

    check_error(preflight, 401, "invalid_api_key")
    assert answer.status_code == 200
    for received_answer in (preflight, answer):
        assert not [name for name, _ in received_answer.headers if name.startswith("Access-Control")]


def test_an_answer_to_a_request_without_an_origin_varies_by_origin(api: Api, cors_client: Client) -> None:
    poll = cors_client.get(
        f"/v1/responses/{api.create_response()['id']}", headers={"Authorization": f"Bearer {api.key}"}
    )

    assert poll.status_code == 200
    assert "Origin" in poll.vary


def test_a_preflight_of_a_configured_origin_needs_no_key_but_its_request_does(api: Api, cors_client: Client) -> None:
    preflight = cors_client.open("/v1/responses", method="OPTIONS", headers=PREFLIGHT_HEADERS)
    key = {"Authorization": f"Bearer {api.key}"}

    assert preflight.status_code == 204
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    for answer in (
        preflight,
        cors_client.get("/v1/models", headers={"Origin": ORIGIN} | key),
        cors_client.get("/v1/models", headers={"Origin": ORIGIN}),  # the page can read the reason of the rejection
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "Origin" in answer.vary
        assert "x-request-id" in answer.headers
    assert cors_client.get("/v1/models", headers={"Origin": ORIGIN}).status_code == 401


@pytest.mark.parametrize(
    "origin", ["https://ui.example.evil", "http://ui.example", "null", "https://ui.example:444", "*"]
)
def test_a_preflight_of_another_origin_is_rejected(cors_client: Client, origin: str) -> None:
    preflight = cors_client.open("/v1/responses", method="OPTIONS", headers=PREFLIGHT_HEADERS | {"Origin": origin})

    assert preflight.status_code == 401
    assert "Access-Control-Allow-Origin" not in preflight.headers
    # An OPTIONS request that is not a preflight needs a key, whatever its origin.
    assert cors_client.open("/v1/responses", method="OPTIONS", headers={"Origin": ORIGIN}).status_code == 401


@pytest.mark.parametrize("origins", ["ui.example", "https://ui.example/", "https://a.example,ftp://b"])
def test_an_invalid_origin_in_the_settings_is_rejected(origins: str) -> None:
    with pytest.raises(ValidationError, match="is not an origin"):
        Settings(cors_origins=origins)


def test_forwarded_headers_are_used_only_from_trusted_proxies(api: Api, proxied_client: Client) -> None:
    headers = {"X-Forwarded-Prefix": "/evil, /good", "X-Forwarded-Host": "evil, good", "X-Forwarded-For": "9.9.9.9"}

    answer = api.client.get("/docs", headers=headers)
    assert "evil" not in answer.text + str(answer.headers)
    assert 'href="/docs' in answer.text
    assert 'href="/good/docs' in proxied_client.get("/docs", headers=headers).text
    assert "evil" not in proxied_client.get("/docs", headers=headers).text
