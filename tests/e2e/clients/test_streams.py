"""Streams on real processes: reading, disconnects, resumption on another API process, and killed processes."""

import asyncio
import random

import openai
import pytest

from core.bootstrap import open_core
from tests import stream_checker
from tests.e2e.clients.reading import RESPONSES_PATH, read_with_disconnects, stream_request, two_api_stack
from tests.harness.stack import Stack
from tests.harness.waiting import until, wait_for_end
from tests.model_server import ModelServer
from tests.stream_checker import open_event_stream

__all__ = ["two_api_stack"]  # an imported fixture


@pytest.mark.parametrize("background", [True, False])
def test_a_create_with_stream_receives_its_events_as_they_are_written(
    shared_stack: Stack, models: ModelServer, background: bool
) -> None:
    with open_event_stream(
        shared_stack.port,
        shared_stack.key,
        RESPONSES_PATH,
        stream_request(models, background=background, first_delay_s=2),
    ) as stream:
        first_events = stream.read(2)
        assert first_events[0]["type"] == "response.created"
        assert [run for run in models.stats("s")["by_tag"]["s"] if run["tokens_sent"]] == []
        events = stream.read()
        assert stream.done
        assert stream.pings > 0
    assert events == shared_stack.event_log(events[0]["response"]["id"])
    assert sum(event["type"] == "response.output_text.delta" for event in events) > 5


def test_a_background_response_completes_after_its_reader_disconnects(shared_stack: Stack, models: ModelServer) -> None:
    with open_event_stream(shared_stack.port, shared_stack.key, RESPONSES_PATH, stream_request(models)) as stream:
        response_id = stream.read(8)[0]["response"]["id"]
    with shared_stack.client() as client:
        final_response = wait_for_end(client, response_id)

    assert final_response.status == "completed"
    assert final_response.output_text == "".join(f"tok{number} " for number in range(40))


def test_a_foreground_response_is_cancelled_after_its_reader_disconnects(
    shared_stack: Stack, models: ModelServer
) -> None:
    with open_event_stream(
        shared_stack.port, shared_stack.key, RESPONSES_PATH, stream_request(models, background=False, tokens=400)
    ) as stream:
        response_id = stream.read(8)[0]["response"]["id"]
    until(lambda: models.stats()["open"] == 0, timeout_s=5)
    query = "select status from responses where id = %s"
    until(lambda: shared_stack.sql(query, response_id) == [("cancelled",)], timeout_s=5)


def test_stream_options_are_accepted_and_add_no_obfuscation(shared_stack: Stack, models: ModelServer) -> None:
    body = stream_request(models, tokens=5) | {"stream_options": {"include_obfuscation": True}}
    with open_event_stream(shared_stack.port, shared_stack.key, RESPONSES_PATH, body) as stream:
        events = stream.read()

    assert not [event for event in events if "obfuscation" in event]


def test_a_response_created_without_stream_can_be_streamed_from_any_number(
    shared_stack: Stack, models: ModelServer
) -> None:
    with shared_stack.client() as client:
        response = client.responses.create(**stream_request(models, tokens=10) | {"stream": False})
        wait_for_end(client, response.id)
    log = shared_stack.event_log(response.id)
    path = f"{RESPONSES_PATH}/{response.id}?stream=true"
    for starting_after in (-5, -1, 0, 3, len(log) - 2):
        with open_event_stream(
            shared_stack.port_2,
            shared_stack.key,
            f"{path}&starting_after={starting_after}",
            after=max(starting_after, -1),
        ) as stream:
            assert stream.read() == log[max(starting_after, -1) + 1 :]
            assert stream.done
    for starting_after in (len(log) - 1, len(log) + 5, 10**30):
        with open_event_stream(
            shared_stack.port, shared_stack.key, f"{path}&starting_after={starting_after}", after=starting_after
        ) as stream:
            assert stream.read() == []
            assert stream.done


@pytest.mark.parametrize("process", ["valkey", "api", "worker"])
def test_a_stream_continues_without_gap_or_repetition_when_a_process_is_killed(
    two_api_stack: Stack, models: ModelServer, process: str
) -> None:
    with open_event_stream(
        two_api_stack.port, two_api_stack.key, RESPONSES_PATH, stream_request(models, tokens=60, delay_s=0.1)
    ) as stream:
        head = list(stream.read(12))
        two_api_stack.kill(process)
        if process == "worker":
            two_api_stack.start("worker")
        tail = [] if process == "api" else stream.read()[len(head) :]
    if process == "api":
        response_id, starting_after = head[0]["response"]["id"], head[-1]["sequence_number"]
        path = f"{RESPONSES_PATH}/{response_id}?stream=true&starting_after={starting_after}"
        with open_event_stream(two_api_stack.port_2, two_api_stack.key, path, after=starting_after) as stream:
            tail = stream.read()
    events = head + tail

    stream_checker.check_complete_log(events)
    assert events[-1]["response"]["status"] == "completed"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "".join(f"tok{n} " for n in range(60))


def test_the_stream_of_a_cancelled_response_ends_with_a_failed_event(shared_stack: Stack, models: ModelServer) -> None:
    with (
        open_event_stream(
            shared_stack.port, shared_stack.key, RESPONSES_PATH, stream_request(models, tokens=400)
        ) as stream,
        shared_stack.client() as client,
    ):
        response_id = stream.read(8)[0]["response"]["id"]
        client.responses.cancel(response_id)
        last_event = stream.read()[-1]

        assert stream.done
        assert stream.error is None
    assert (last_event["type"], last_event["response"]["status"], last_event["response"]["error"]) == (
        "response.failed",
        "cancelled",
        None,
    )


def test_a_failure_of_the_model_server_ends_the_stream_with_a_failed_event(
    shared_stack: Stack, models: ModelServer
) -> None:
    with open_event_stream(
        shared_stack.port, shared_stack.key, RESPONSES_PATH, stream_request(models, drop_after_tokens=5)
    ) as stream:
        events = stream.read()

    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "server_error"
    assert (stream.done, stream.error) == (True, None)


def test_a_stopping_api_ends_its_streams_and_clients_resume_on_another_api(
    two_api_stack: Stack, models: ModelServer
) -> None:
    with open_event_stream(
        two_api_stack.port, two_api_stack.key, RESPONSES_PATH, stream_request(models, tokens=60, delay_s=0.1)
    ) as stream:
        head = list(stream.read(8))
        two_api_stack.children["api"].send_stop_signal()
        head += stream.read()[8:]

        assert stream.error is not None
        assert not stream.done
    response_id, starting_after = head[0]["response"]["id"], stream.error["sequence_number"]
    assert starting_after == head[-1]["sequence_number"]
    path = f"{RESPONSES_PATH}/{response_id}?stream=true&starting_after={starting_after}"
    with open_event_stream(two_api_stack.port_2, two_api_stack.key, path, after=starting_after) as stream:
        events = head + stream.read()
    stream_checker.check_complete_log(events)
    assert events[-1]["response"]["status"] == "completed"


def test_a_deploy_ends_a_foreground_stream_and_the_response_completes(
    two_api_stack: Stack, models: ModelServer
) -> None:
    with open_event_stream(
        two_api_stack.port,
        two_api_stack.key,
        RESPONSES_PATH,
        stream_request(models, background=False, tokens=60, delay_s=0.1),
    ) as stream:
        stream.read(8)
        two_api_stack.children["api"].send_stop_signal()
        stream.read()

        assert not stream.done
    until(lambda: two_api_stack.sql("select status from responses") == [("completed",)], timeout_s=20)


def test_a_stalled_reader_does_not_delay_another_reader(shared_stack: Stack, models: ModelServer) -> None:
    body = stream_request(models, tokens=60, delay_s=0.02)
    with open_event_stream(shared_stack.port, shared_stack.key, RESPONSES_PATH, body) as stalled_reader:
        response_id = stalled_reader.read(1)[0]["response"]["id"]
        path = f"{RESPONSES_PATH}/{response_id}?stream=true"
        with open_event_stream(shared_stack.port, shared_stack.key, path) as reader:
            events = reader.read()
        assert stalled_reader.read() == events


def test_an_ended_foreground_response_cannot_be_streamed(shared_stack: Stack) -> None:
    with shared_stack.client() as client:
        response = client.responses.create(model="scripted", input="hello")
        with pytest.raises(openai.BadRequestError, match="not created with background=true") as caught:
            client.responses.retrieve(response.id, stream=True)

    assert caught.value.param == "stream"


def test_a_stream_of_another_project_and_of_an_unknown_id_return_the_same_error(
    shared_stack: Stack, models: ModelServer
) -> None:
    with shared_stack.client() as client:
        response = client.responses.create(**stream_request(models, tokens=3) | {"stream": False})
        wait_for_end(client, response.id)
        unknown_id = "resp_" + "0" * 32
        with pytest.raises(openai.NotFoundError) as unknown_id_error:
            client.responses.retrieve(unknown_id, stream=True)
    with open_core(shared_stack.settings) as core:
        key = core.keys.create(project="other")
    with (
        openai.OpenAI(base_url=f"http://127.0.0.1:{shared_stack.port}/v1", api_key=key, max_retries=0) as other_client,
        pytest.raises(openai.NotFoundError) as other_project_error,
    ):
        other_client.responses.retrieve(response.id, stream=True)
    message = other_project_error.value.body["message"]  # type: ignore[index]
    assert message.replace(response.id, unknown_id) == unknown_id_error.value.body["message"]  # type: ignore[index]


def test_a_reader_with_fifty_disconnects_gets_the_events_of_an_undisturbed_reader(
    shared_stack: Stack, models: ModelServer
) -> None:
    read_with_disconnects(shared_stack, models, random.randrange(2**32), disconnect_count=50, tokens=250)


def test_every_helper_of_the_client_returns_the_same_final_text(shared_stack: Stack, models: ModelServer) -> None:
    body = stream_request(models, tokens=20)
    del body["stream"]
    with shared_stack.client() as client:
        with client.responses.stream(**body) as stream:
            events = list(stream)
            final_response = stream.get_final_response()
        assert client.responses.retrieve(final_response.id).output_text == final_response.output_text
        tail = list(client.responses.retrieve(final_response.id, stream=True, starting_after=4))
        assert [event.sequence_number for event in tail] == list(
            range(5, len(shared_stack.event_log(final_response.id)))
        )
        assert tail[-1].response.output_text == final_response.output_text  # type: ignore[union-attr]
        with client.responses.stream(response_id=final_response.id, starting_after=4) as resumed_stream:
            assert resumed_stream.get_final_response().output_text == final_response.output_text
    assert events[-1].type == "response.completed"
    assert final_response.output_text == "".join(f"tok{number} " for number in range(20))


async def _read_final_texts(stack: Stack, body: dict) -> list[str]:
    """The text that each helper of the asynchronous client returns at the end of a stream."""
    async with openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{stack.port_2}/v1", api_key=stack.key, max_retries=0
    ) as client:
        async with client.responses.stream(**body) as stream:
            final_response = await stream.get_final_response()
        tail = [
            event async for event in await client.responses.retrieve(final_response.id, stream=True, starting_after=4)
        ]
        async with client.responses.stream(response_id=final_response.id, starting_after=4) as resumed_stream:
            resumed_response = await resumed_stream.get_final_response()
        return [final_response.output_text, tail[-1].response.output_text, resumed_response.output_text]


def test_the_async_client_returns_the_same_final_text(shared_stack: Stack, models: ModelServer) -> None:
    body = stream_request(models, tokens=20)
    del body["stream"]
    texts = asyncio.run(_read_final_texts(shared_stack, body))

    assert set(texts) == {"".join(f"tok{number} " for number in range(20))}
