"""A complete stack over TLS, with a Redis ACL user and planted secrets: no output contains any of them."""

import contextlib
import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import redis

from app.serve import HEADERS_MS
from local import web
from tests.conftest import new_database
from tests.harness.stack import Stack
from tests.harness.tls_proxy import TlsProxy, certificate
from tests.harness.waiting import until
from tests.model_server import ModelServer

SECRETS = {
    "the password of Redis": "redispassword0planted",
    "the password of Postgres": "postgrespassword0planted",
    "the key of the model server": "modelserverkey0planted",
    "the key that encrypts": "secretkey0planted0" * 3,
    "the prompt": "prompttext0planted",
    "the instructions": "instructions0planted",
    "the name of a file": "filename0planted",
    "the metadata": "metadata0planted",
    "the user": "user0planted",
}
# The permissions that Backburner's Redis user needs; docs/security.md documents the same.
ACL = "~backburner:* &* +@all -@dangerous -@admin +info +client|setinfo"


def unix(path: str) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    found.connect(path)
    return found


@pytest.fixture(scope="module")
def exposed(
    postgres_url: str, template: str, _model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """The stack, after one response that completed and one that the model server refused."""
    folder = tmp_path_factory.mktemp("exposed")
    config = folder / "backburner.toml"
    config.write_text(f'[models.scripted]\nbase_url = "{_model_server.base_url}"\napi_key_env = "THE_MODEL_KEY"\n')
    url = new_database(postgres_url, template)
    files = certificate(folder, "good")
    with Stack(folder / "home", url, config, _model_server) as stack:
        stack.up("valkey")
        valkey = urlsplit(stack.valkey.url)
        with redis.Redis.from_url(stack.valkey.url) as client:
            client.execute_command(
                "ACL", "SETUSER", "backburner", "on", f">{SECRETS['the password of Redis']}", *ACL.split()
            )
        database = parse_qs(urlsplit(url).query)["host"][0]
        (found,) = Path(database).glob(".s.PGSQL.*[0-9]")
        proxies = [
            TlsProxy(lambda: socket.create_connection((valkey.hostname or "", valkey.port or 0)), files),
            TlsProxy(lambda: unix(str(found)), files, postgres=True),
        ]
        with psycopg.connect(url, autocommit=True) as connection:
            (role, name) = connection.execute("select current_user, current_database()").fetchone() or ("", "")
        password = SECRETS["the password of Postgres"]
        stack._env |= {
            "BACKBURNER_REDIS_URL": f"rediss://backburner:{SECRETS['the password of Redis']}@127.0.0.1:"
            f"{proxies[0].port}/0?ssl_ca_certs={files[0]}",
            "BACKBURNER_DATABASE_URL": f"postgresql://{role}:{password}@127.0.0.1:{proxies[1].port}/{name}"
            f"?sslmode=verify-full&sslrootcert={files[0]}",
            "BACKBURNER_SECRET_KEY": SECRETS["the key that encrypts"],
            "THE_MODEL_KEY": SECRETS["the key of the model server"],
            "BACKBURNER_LOG_LEVEL": "DEBUG",
        }
        try:
            stack.up("api", "worker", "sweeper", "flower")
            # Flower shows only tasks that start after the worker's first event has reached it.
            until(lambda: "worker-" in web_text(stack.flower_port, "/workers?json=1"), within_s=30)
            yield SimpleNamespace(stack=stack, proxies=proxies, ids=[*ask(stack, _model_server)])
        finally:
            for proxy in proxies:
                proxy.close()


def ask(stack: Stack, models: ModelServer) -> Iterator[str]:
    text = {"type": "input_text", "text": SECRETS["the prompt"]}
    file = {
        "type": "input_file",
        "filename": SECRETS["the name of a file"] + ".txt",
        "file_data": "data:text/plain;base64,aGVsbG8=",
    }
    for script in (models.script(tokens=3), models.script(status=400)):
        with stack.client() as client:
            created = client.responses.create(
                model="scripted",
                input=[{"role": "user", "content": [text, file]}, {"role": "user", "content": script}],  # type: ignore[list-item]
                instructions=SECRETS["the instructions"],
                metadata={"m": SECRETS["the metadata"]},
                user=SECRETS["the user"],
                background=True,
            )
            until(lambda: client.responses.retrieve(created.id).status in {"completed", "failed"})
            yield created.id


def test_every_part_works_over_tls_with_a_user_of_an_acl(exposed: Any) -> None:
    first, second = (
        exposed.stack.sql("select status from responses where id = %s", found)[0][0] for found in exposed.ids
    )

    assert (first, second) == ("completed", "failed")
    assert all(proxy.shaken for proxy in exposed.proxies)
    ready = json.loads(web_text(exposed.stack.port, "/readyz"))
    assert ready == {"status": "ok", "postgres": "ok", "redis": "ok"}


def web_text(port: int, path: str, **headers: str) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def test_secrets_and_contents_show_in_no_log_no_page_no_queue_and_no_process_list(exposed: Any) -> None:
    stack: Stack = exposed.stack
    key = stack.key
    outputs = {f"log of {name}": stack.log(name) for name in ("api", "worker", "sweeper", "flower", "valkey")}
    for path in ("/readyz", "/healthz", "/openapi.json", "/docs", "/metrics", "/v1/responses/x", "/v1/nope"):
        outputs[path] = web_text(stack.port, path, Authorization=f"Bearer {key}")
        outputs[f"{path} without a key"] = web_text(stack.port, path, Authorization="Bearer " + key[:-1])
    for response_id in exposed.ids:
        outputs[f"task {response_id}"] = until(
            lambda: (text := web_text(stack.flower_port, f"/task/{response_id}")) and "SUCCESS" in text and text
        )
    outputs["metrics of Flower"] = web_text(stack.flower_port, "/metrics")
    outputs["workers in Flower"] = web_text(stack.flower_port, "/api/workers") + web_text(stack.flower_port, "/")
    with redis.Redis.from_url(stack.valkey.url) as client:
        outputs["Redis"] = repr([(name, client.dump(name)) for name in client.scan_iter()])
    outputs["ps"] = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout

    assert exposed.ids[0] in outputs["log of worker"]
    planted = SECRETS | {"the API key": key}
    assert [(what, where) for what, text in planted.items() for where, out in outputs.items() if text in out] == []


def test_a_certificate_that_is_not_trusted_is_refused_by_every_client(exposed: Any, tmp_path: Path) -> None:
    from core.bootstrap import open_core, redis_url
    from core.settings import Settings

    other = certificate(tmp_path, "other")[0]
    env = exposed.stack._env
    urls = {
        name: re.sub(r"(ssl_ca_certs|sslrootcert)=[^&]+", rf"\1={other}", env[name])
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


def test_whatever_is_sent_a_line_of_the_log_stays_one_line(exposed: Any) -> None:
    stack: Stack = exposed.stack
    forged = "x\r\nat=2026-01-01T00:00:00+0000 level=INFO part=core.endings msg=ended forged=1"
    for path in (f"/v1/responses/{urllib.request.quote(forged)}", f"/v1/models/{urllib.request.quote(forged)}"):
        web_text(stack.port, path, Authorization=f"Bearer {stack.key}")
    web_text(stack.port, "/v1/models", Authorization=f"Bearer {stack.key}", **{"OpenAI-Project": "\x1b[2Jforged=2"})
    with stack.client() as client, pytest.raises(Exception):  # noqa: B017
        client.responses.create(model=forged, input=forged, metadata={"k": forged}, background=True)

    for name in ("api", "worker", "sweeper"):
        said = stack.log(name)
        assert [line for line in said.splitlines() if re.match(r"at=2026-01-01T00| *forged=", line)] == []
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", said)
    assert web.status(f"http://127.0.0.1:{stack.port}/healthz") == 200


HEAD = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n"


def answered(port: int, sent: bytes, within_s: float = 10) -> bytes:
    """Everything received until the first blank line, the end of the connection or the timeout."""
    with socket.create_connection(("127.0.0.1", port), timeout=within_s) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(sent)
        got = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            while data := client.recv(65536):
                got += data
                if b"\r\n\r\n" in got:
                    break
        return got


@pytest.mark.parametrize(
    "headers",
    [
        b"".join(b"X-%d: a\r\n" % n for n in range(10_000)),
        b"X: " + b"a" * 500_000 + b"\r\n",
        b"Authorization: Bearer " + b"a" * 500_000 + b"\r\n",
        b"X" * 500_000 + b": a\r\n",
    ],
    ids=["many", "large", "a large key", "a large name"],
)
def test_a_flood_of_headers_is_refused_and_the_next_client_is_served(exposed: Any, headers: bytes) -> None:
    said = answered(exposed.stack.port, HEAD + headers + b"\r\n")

    assert said.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400")) or said == b""
    assert web.status(f"http://127.0.0.1:{exposed.stack.port}/healthz") == 200


def test_clients_that_are_slow_to_say_what_they_want_are_dropped_and_hold_up_nobody(exposed: Any) -> None:
    port, key = exposed.stack.port, exposed.stack.key
    body = f"POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 100\r\n\r\n{{"
    with contextlib.ExitStack() as clients:
        heads, bodies = (
            [clients.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(50)] for _ in "hb"
        )
        for one in heads:
            one.sendall(HEAD)
        for one in bodies:
            one.sendall(body.encode())
        began = time.monotonic()
        for _ in range(20):
            assert web.status(f"http://127.0.0.1:{port}/readyz") == 200
        assert time.monotonic() - began < 5

        for one in heads:
            one.settimeout(HEADERS_MS / 1000 + 5)
            with contextlib.suppress(ConnectionError):
                while one.recv(65536):
                    pass
    assert web.status(f"http://127.0.0.1:{port}/healthz") == 200
