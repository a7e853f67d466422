"""Responses with large outputs end truthfully at the size limit, and can be cancelled."""

import pytest

from tests.harness.stack import Stack
from tests.harness.waiting import until, wait_for_end
from tests.model_server import ModelServer

MIB = 1024 * 1024
LIMIT_BYTES = 4 * MIB  # the default of BACKBURNER_OUTPUT_LIMIT_BYTES


@pytest.mark.parametrize(
    ("tokens", "padding"), [(40, MIB), (300, 65_536), (10, 3 * MIB)], ids=["40 x 1 MiB", "300 x 64 KiB", "10 x 3 MiB"]
)
def test_a_stream_above_the_output_limit_ends_incomplete_and_stops_its_model_server(
    shared_stack: Stack, models: ModelServer, tokens: int, padding: int
) -> None:
    tag = f"large-{tokens}-{padding}"
    with shared_stack.client() as client:
        script = models.script(tag=tag, tokens=tokens, padding=padding, delay_s=0.03)
        response = client.responses.create(model="scripted", input=script, background=True)
        final_response = wait_for_end(client, response.id)

        assert final_response.status == "incomplete"
        assert final_response.incomplete_details is not None
        assert final_response.incomplete_details.reason == "max_output_tokens"
        assert LIMIT_BYTES - 4096 < len(final_response.output_text) <= LIMIT_BYTES
        assert final_response.output_text.startswith("tok0 xxx")
        (request,) = until(lambda: [run for run in models.stats(tag)["by_tag"][tag] if run["ended"]])
        assert request["outcome"] == "client_closed"
        events = list(client.responses.retrieve(response.id, stream=True))
    assert events[-1].type == "response.incomplete"
    assert (
        "".join(event.delta for event in events if event.type == "response.output_text.delta")
        == final_response.output_text
    )


def test_an_event_of_a_model_server_above_its_limit_ends_the_response_as_failed(
    shared_stack: Stack, models: ModelServer
) -> None:
    with shared_stack.client() as client:
        response = client.responses.create(
            model="scripted", input=models.script(tokens=1, padding=16 * MIB), background=True
        )
        final_response = wait_for_end(client, response.id)

    assert final_response.status == "failed"
    assert final_response.error is not None
    assert "too long" in final_response.error.message


def test_a_response_with_a_large_output_can_be_cancelled(shared_stack: Stack, models: ModelServer) -> None:
    with shared_stack.client() as client:
        script = models.script(tag="cancelled-large", tokens=100, padding=MIB // 4, delay_s=0.1)
        response = client.responses.create(model="scripted", input=script, background=True)
        until(lambda: len(client.responses.retrieve(response.id).output_text) > MIB)

        cancelled_response = client.responses.cancel(response.id)

    assert cancelled_response.status == "cancelled"
    assert MIB < len(cancelled_response.output_text) < LIMIT_BYTES
