"""A complete stack over TLS, with a Redis ACL user and planted secrets, which must not appear in any output."""

import contextlib
import fcntl
import json
import re
import socket
import subprocess
import sys
import termios
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import openai
import psycopg
import pytest
import redis

from app.serve import HEADER_BUFFER_BYTES, HEADER_TIMEOUT_MS, MAX_HEADER_BYTES
from core.bootstrap import open_core, redis_url
from core.settings import Settings
from local import web
from tests.conftest import new_database
from tests.harness.stack import Stack
from tests.harness.tls_proxy import TlsProxy, create_certificate
from tests.harness.waiting import until
from tests.model_server import ModelServer

SECRETS = {
    "the password of Redis": "redispassword0planted",
    "the password of Postgres": "postgrespassword0planted",
    "the key of the model server": "modelserverkey0planted",
    "the encryption key": "secretkey0planted0" * 3,
    "the prompt": "prompttext0planted",
    "the instructions": "instructions0planted",
    "the name of a file": "filename0planted",
    "the metadata": "metadata0planted",
    "the user": "user0planted",
}
# The permissions that Backburner's Redis user needs; docs/security.md contains the same list.
ACL = "~backburner:* &* +@all -@dangerous -@admin +info +client|setinfo"


@dataclass(frozen=True)
class ExposedDeployment:
    """A stack, the TLS proxies of Redis and Postgres, and the IDs of a completed and a failed response."""

    stack: Stack
    proxies: list[TlsProxy]
    response_ids: list[str]


def connect_unix_socket(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


@pytest.fixture(scope="module")
def exposed_deployment(
    postgres_url: str, template: str, _model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ExposedDeployment]:
    folder = tmp_path_factory.mktemp("exposed")
    config = folder / "backburner.toml"
    config.write_text(f'[models.scripted]\nbase_url = "{_model_server.base_url}"\napi_key_env = "THE_MODEL_KEY"\n')
    url = new_database(postgres_url, template)
    certificate_files = create_certificate(folder, "good")
    with Stack(folder / "home", url, config, _model_server) as stack:
        stack.up("valkey")
        valkey = urlsplit(stack.valkey.url)
        with redis.Redis.from_url(stack.valkey.url) as client:
            client.execute_command(
                "ACL", "SETUSER", "backburner", "on", f">{SECRETS['the password of Redis']}", *ACL.split()
            )
        socket_folder = parse_qs(urlsplit(url).query)["host"][0]
        (socket_path,) = Path(socket_folder).glob(".s.PGSQL.*[0-9]")
        redis_proxy = TlsProxy(
            lambda: socket.create_connection((valkey.hostname or "", valkey.port or 0)), certificate_files
        )
        postgres_proxy = TlsProxy(lambda: connect_unix_socket(str(socket_path)), certificate_files, is_postgres=True)
        with psycopg.connect(url, autocommit=True) as connection:
            (role, name) = connection.execute("select current_user, current_database()").fetchone() or ("", "")
        password = SECRETS["the password of Postgres"]
        stack._env |= {
            "BACKBURNER_REDIS_URL": f"rediss://backburner:{SECRETS['the password of Redis']}@127.0.0.1:"
            f"{redis_proxy.port}/0?ssl_ca_certs={certificate_files[0]}",
            "BACKBURNER_DATABASE_URL": f"postgresql://{role}:{password}@127.0.0.1:{postgres_proxy.port}/{name}"
            f"?sslmode=verify-full&sslrootcert={certificate_files[0]}",
            "BACKBURNER_SECRET_KEY": SECRETS["the encryption key"],
            "THE_MODEL_KEY": SECRETS["the key of the model server"],
            "BACKBURNER_LOG_LEVEL": "DEBUG",
        }
        try:
            stack.up("api", "worker", "sweeper", "flower")
            # Flower shows only tasks that start after the worker's first event has reached it.
            until(lambda: "worker-" in get_text(stack.flower_port, "/workers?json=1"), timeout_s=30)
            yield ExposedDeployment(stack, [redis_proxy, postgres_proxy], [*create_responses(stack, _model_server)])
        finally:
            redis_proxy.close()
            postgres_proxy.close()


def create_responses(stack: Stack, models: ModelServer) -> Iterator[str]:
    """Create a response that completes and a response that fails, each with all kinds of secrets; yield their IDs."""
    text = {"type": "input_text", "text": SECRETS["the prompt"]}
    file = {
        "type": "input_file",
        "filename": SECRETS["the name of a file"] + ".txt",
        "file_data": "data:text/plain;base64,aGVsbG8=",
    }
    for script in (models.script(tokens=3), models.script(status=400)):
        with stack.client() as client:
            response = client.responses.create(
                model="scripted",
                input=[{"role": "user", "content": [text, file]}, {"role": "user", "content": script}],  # type: ignore[list-item]
                instructions=SECRETS["the instructions"],
                metadata={"m": SECRETS["the metadata"]},
                user=SECRETS["the user"],
                background=True,
            )
            until(lambda: client.responses.retrieve(response.id).status in {"completed", "failed"})
            yield response.id


def test_every_process_works_over_tls_with_a_redis_acl_user(exposed_deployment: ExposedDeployment) -> None:
    query = "select status from responses where id = %s"
    statuses = [
        exposed_deployment.stack.sql(query, response_id)[0][0] for response_id in exposed_deployment.response_ids
    ]

    assert statuses == ["completed", "failed"]
    assert all(proxy.handshakes for proxy in exposed_deployment.proxies)
    readiness = json.loads(get_text(exposed_deployment.stack.port, "/readyz"))
    assert readiness == {"status": "ok", "postgres": "ok", "redis": "ok"}


def get_text(port: int, path: str, **headers: str) -> str:
    """The body of the reply to a GET request, regardless of the status."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def successful_task_page(stack: Stack, response_id: str) -> str | None:
    """Flower's page of the task of a response, or None if Flower does not show yet that the task was successful."""
    page = get_text(stack.flower_port, f"/task/{response_id}")
    return page if "SUCCESS" in page else None


def test_no_log_page_queue_or_process_list_contains_a_secret_or_content(exposed_deployment: ExposedDeployment) -> None:
    stack = exposed_deployment.stack
    key = stack.key
    outputs = {f"log of {name}": stack.log(name) for name in ("api", "worker", "sweeper", "flower", "valkey")}
    for path in ("/readyz", "/healthz", "/openapi.json", "/docs", "/metrics", "/v1/responses/x", "/v1/nope"):
        outputs[path] = get_text(stack.port, path, Authorization=f"Bearer {key}")
        outputs[f"{path} without a key"] = get_text(stack.port, path, Authorization="Bearer " + key[:-1])
    for response_id in exposed_deployment.response_ids:
        outputs[f"task {response_id}"] = until(
            lambda response_id=response_id: successful_task_page(stack, response_id)  # type: ignore[misc]
        )
    outputs["metrics of Flower"] = get_text(stack.flower_port, "/metrics")
    outputs["workers in Flower"] = get_text(stack.flower_port, "/api/workers") + get_text(stack.flower_port, "/")
    with redis.Redis.from_url(stack.valkey.url) as client:
        outputs["Redis"] = repr([(name, client.dump(name)) for name in client.scan_iter()])
    outputs["ps"] = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout

    assert exposed_deployment.response_ids[0] in outputs["log of worker"]
    leaks = [
        (secret_name, output_name)
        for secret_name, secret in (SECRETS | {"the API key": key}).items()
        for output_name, output in outputs.items()
        if secret in output
    ]
    assert leaks == []


def test_every_client_rejects_an_untrusted_certificate(exposed_deployment: ExposedDeployment, tmp_path: Path) -> None:
    other_certificate = create_certificate(tmp_path, "other")[0]
    env = exposed_deployment.stack._env
    urls = {
        name: re.sub(r"(ssl_ca_certs|sslrootcert)=[^&]+", rf"\1={other_certificate}", env[name])
        for name in env
        if name.endswith("_URL")
    }
    settings = Settings(redis_url=urls["BACKBURNER_REDIS_URL"], database_url=urls["BACKBURNER_DATABASE_URL"])
    assert "ssl_cert_reqs=required" in redis_url(settings)
    with open_core(settings) as core:
        with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            core.bus.ping()
        assert core.doorbell.enqueue(["resp_x"], "default") == ["resp_x"]
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(urls["BACKBURNER_DATABASE_URL"], connect_timeout=5)


def test_no_request_can_add_a_line_to_a_log(exposed_deployment: ExposedDeployment) -> None:
    stack = exposed_deployment.stack
    forged_line = "x\r\nat=2026-01-01T00:00:00+0000 level=INFO part=core.endings msg=ended forged=1"
    for path in (
        f"/v1/responses/{urllib.request.quote(forged_line)}",
        f"/v1/models/{urllib.request.quote(forged_line)}",
    ):
        get_text(stack.port, path, Authorization=f"Bearer {stack.key}")
    get_text(stack.port, "/v1/models", Authorization=f"Bearer {stack.key}", **{"OpenAI-Project": "\x1b[2Jforged=2"})
    with stack.client() as client, pytest.raises(openai.APIStatusError):
        client.responses.create(model=forged_line, input=forged_line, metadata={"k": forged_line}, background=True)

    for name in ("api", "worker", "sweeper"):
        log = stack.log(name)
        assert [line for line in log.splitlines() if re.match(r"at=2026-01-01T00| *forged=", line)] == []
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", log)
    assert web.status(f"http://127.0.0.1:{stack.port}/healthz") == 200


def _unacknowledged_bytes(client: socket.socket) -> int:
    """The number of sent bytes that the other side's kernel has not acknowledged (SIOCOUTQ)."""
    return int.from_bytes(fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


REQUEST_HEAD = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n"


def exchange(port: int, request: bytes, first_bytes: int = 0) -> bytes:
    """Send a request; return the reply up to the first blank line, the end of the connection or the timeout.

    Args:
        first_bytes: the size of a first part that arrives separately.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):
            client.sendall(request[:first_bytes])
            until(lambda: not _unacknowledged_bytes(client))
            client.sendall(request[first_bytes:])
        reply = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            while data := client.recv(65536):
                reply += data
                if b"\r\n\r\n" in reply:
                    break
        return reply


@pytest.mark.parametrize(
    "headers",
    [
        b"".join(b"X-%d: a\r\n" % n for n in range(10_000)),
        b"X: " + b"a" * 500_000 + b"\r\n",
        b"Authorization: Bearer " + b"a" * 500_000 + b"\r\n",
        b"X" * 500_000 + b": a\r\n",
    ],
    ids=["many headers", "a large value", "a large key", "a large name"],
)
def test_excessive_headers_are_rejected_and_the_next_client_is_served(
    exposed_deployment: ExposedDeployment, headers: bytes
) -> None:
    reply = exchange(exposed_deployment.stack.port, REQUEST_HEAD + headers + b"\r\n")

    assert reply.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400")) or reply == b""
    assert web.status(f"http://127.0.0.1:{exposed_deployment.stack.port}/healthz") == 200


@pytest.mark.parametrize("first_bytes", [0, 8_000, HEADER_BUFFER_BYTES - 1])
@pytest.mark.parametrize(("size", "status"), [(HEADER_BUFFER_BYTES, b"200"), (MAX_HEADER_BYTES, b"431")])
@pytest.mark.parametrize("count", [1, 80])
def test_headers_are_accepted_up_to_the_buffer_size_and_rejected_at_the_limit(
    exposed_deployment: ExposedDeployment, first_bytes: int, size: int, status: bytes, count: int
) -> None:
    key = exposed_deployment.stack.key.encode()
    head = REQUEST_HEAD + b"Authorization: Bearer " + key + b"\r\n"
    value_bytes = (size - len(head) - 2) // count - len("X-00: \r\n")
    headers = b"".join(b"X-%02d: %b\r\n" % (n, b"a" * value_bytes) for n in range(count))
    padding = size - len(head) - len(headers) - 2
    request = head + headers[:-2] + b"a" * padding + b"\r\n\r\n"
    assert len(request) == size

    reply = exchange(exposed_deployment.stack.port, request, first_bytes)

    assert reply.split()[1] == status


def test_slow_senders_are_disconnected_and_delay_no_other_client(exposed_deployment: ExposedDeployment) -> None:
    port, key = exposed_deployment.stack.port, exposed_deployment.stack.key
    body = f"POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 100\r\n\r\n{{"
    with contextlib.ExitStack() as exit_stack:
        head_senders, body_senders = (
            [exit_stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(50)]
            for _ in range(2)
        )
        for connection in head_senders:
            connection.sendall(REQUEST_HEAD)
        for connection in body_senders:
            connection.sendall(body.encode())
        started_at = time.monotonic()
        for _ in range(20):
            assert web.status(f"http://127.0.0.1:{port}/readyz") == 200
        assert time.monotonic() - started_at < 5

        for connection in head_senders:
            connection.settimeout(HEADER_TIMEOUT_MS / 1000 + 5)
            with contextlib.suppress(ConnectionError):
                while connection.recv(65536):
                    pass
    assert web.status(f"http://127.0.0.1:{port}/healthz") == 200
