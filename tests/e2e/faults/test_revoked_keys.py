"""Streams and waiting requests end soon after their API key was revoked."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from core.bootstrap import open_core
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer

KEY_CACHE_S = 5  # the default of BACKBURNER_KEY_CACHE_S
# The key is checked at the next heartbeat or event after it has left the cache.
MAX_END_S = 2 * KEY_CACHE_S + 5


def read_background_stream(client: openai.OpenAI, script: str) -> None:
    with client.responses.create(model="scripted", input=script, background=True, stream=True) as stream:
        for _ in stream:
            pass


def read_foreground_stream(client: openai.OpenAI, script: str) -> None:
    with client.responses.create(model="scripted", input=script, stream=True) as stream:
        for _ in stream:
            pass


def wait_for_foreground_reply(client: openai.OpenAI, script: str) -> None:
    # The reply began with status 200 before the key was revoked, so that only its body is the error.
    body = client.responses.with_raw_response.create(model="scripted", input=script).http_response.json()
    assert body["error"]["code"] == "invalid_api_key", body
    raise openai.APIError(body["error"]["message"], request=None, body=body["error"])  # type: ignore[arg-type]


def poll_with_wait(client: openai.OpenAI, script: str) -> None:
    response = client.responses.create(model="scripted", input=script, background=True)
    client.responses.retrieve(response.id, extra_headers={"Prefer": "wait=60"})


@pytest.mark.parametrize(
    "wait",
    [read_background_stream, read_foreground_stream, wait_for_foreground_reply, poll_with_wait],
    ids=lambda wait: wait.__name__,
)
def test_a_wait_ends_soon_after_its_key_was_revoked(
    shared_stack: Stack, models: ModelServer, wait: Callable[[openai.OpenAI, str], None]
) -> None:
    tag = wait.__name__
    script = models.script(tag=tag, tokens=100, delay_s=0.5)
    with open_core(shared_stack.settings) as core, ThreadPoolExecutor(1) as thread:
        key = core.keys.create(name=tag)
        (key_row,) = [row for row in core.keys.list_keys() if row.name == tag]
        with shared_stack.client(api_key=key) as client:
            future = thread.submit(wait, client, script)
            until(lambda: models.stats(tag)["open"] == 1)
            core.keys.revoke(key_row.id)
            revoked_at = time.monotonic()

            with pytest.raises(openai.APIError) as caught:
                future.result(MAX_END_S)

    assert time.monotonic() - revoked_at < MAX_END_S
    assert "Incorrect API key" in str(caught.value)
    for (response_id,) in shared_stack.sql(
        "select id from responses where finished_at is null and background and key_id = %s", key_row.id
    ):
        with shared_stack.client() as client:
            client.responses.cancel(response_id)
