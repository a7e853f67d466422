"""Streams on real processes: read, disconnected, resumed elsewhere, and through the death of each process."""

import asyncio
import random

import openai
import pytest

from core.bootstrap import open_core
from tests import stream_checker
from tests.e2e.clients.reading import RESPONSES, asked, interrupted, up
from tests.harness.stack import Stack
from tests.harness.waiting import ended, until
from tests.model_server import ModelServer
from tests.stream_checker import reading

__all__ = ["up"]


@pytest.mark.parametrize("background", [True, False])
def test_a_create_with_stream_is_answered_with_its_events_as_they_come(
    calm: Stack, models: ModelServer, background: bool
) -> None:
    with reading(calm.port, calm.key, RESPONSES, asked(models, background=background, first_delay_s=2)) as stream:
        first = stream.read(2)
        assert [event["type"] for event in first][:1] == ["response.created"]
        assert [one for one in models.stats("s")["by_tag"]["s"] if one["tokens_sent"]] == []
        events = stream.read()
        assert stream.done
        assert stream.pings > 0
    assert events == calm.log_of(events[0]["response"]["id"])
    assert sum(event["type"] == "response.output_text.delta" for event in events) > 5


def test_a_background_stream_that_loses_its_reader_changes_nothing(calm: Stack, models: ModelServer) -> None:
    with reading(calm.port, calm.key, RESPONSES, asked(models)) as stream:
        response_id = stream.read(8)[0]["response"]["id"]
    with calm.client() as client:
        final = ended(client, response_id)

    assert final.status == "completed"
    assert final.output_text == "".join(f"tok{number} " for number in range(40))


def test_a_foreground_stream_that_loses_its_reader_is_cancelled(calm: Stack, models: ModelServer) -> None:
    with reading(calm.port, calm.key, RESPONSES, asked(models, background=False, tokens=400)) as stream:
        response_id = stream.read(8)[0]["response"]["id"]
    until(lambda: models.stats()["open"] == 0, within_s=5)
    status = "select status from responses where id = %s"
    until(lambda: calm.sql(status, response_id) == [("cancelled",)], within_s=5)


def test_stream_options_are_taken_with_a_stream_and_pad_nothing(calm: Stack, models: ModelServer) -> None:
    body = asked(models, tokens=5) | {"stream_options": {"include_obfuscation": True}}
    with reading(calm.port, calm.key, RESPONSES, body) as stream:
        events = stream.read()

    assert not [event for event in events if "obfuscation" in event]


def test_a_response_made_without_stream_is_streamed_from_any_number_on(calm: Stack, models: ModelServer) -> None:
    with calm.client() as client:
        created = client.responses.create(**asked(models, tokens=10) | {"stream": False})
        ended(client, created.id)
    whole = calm.log_of(created.id)
    path = f"{RESPONSES}/{created.id}?stream=true"
    for after in (-5, -1, 0, 3, len(whole) - 2):
        with reading(calm.port_2, calm.key, f"{path}&starting_after={after}", after=max(after, -1)) as stream:
            assert stream.read() == whole[max(after, -1) + 1 :]
            assert stream.done
    for after in (len(whole) - 1, len(whole) + 5, 10**30):
        with reading(calm.port, calm.key, f"{path}&starting_after={after}", after=after) as stream:
            assert stream.read() == []
            assert stream.done


@pytest.mark.parametrize("part", ["valkey", "api", "worker"])
def test_a_stream_goes_on_without_gap_or_repeat_when_a_part_is_killed(
    up: Stack, models: ModelServer, part: str
) -> None:
    with reading(up.port, up.key, RESPONSES, asked(models, tokens=60, delay_s=0.1)) as stream:
        head = list(stream.read(12))
        up.kill(part)
        if part == "api":
            rest: list = []
        else:
            if part == "worker":
                up.start("worker")
            rest = stream.read()[len(head) :]
    if part == "api":
        response_id, after = head[0]["response"]["id"], head[-1]["sequence_number"]
        path = f"{RESPONSES}/{response_id}?stream=true&starting_after={after}"
        with reading(up.port_2, up.key, path, after=after) as stream:
            rest = stream.read()
    events = head + rest

    stream_checker.check(events)
    assert events[-1]["response"]["status"] == "completed"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "".join(f"tok{n} " for n in range(60))


def test_a_cancelled_stream_ends_with_failed_whose_response_is_cancelled(calm: Stack, models: ModelServer) -> None:
    with reading(calm.port, calm.key, RESPONSES, asked(models, tokens=400)) as stream, calm.client() as client:
        response_id = stream.read(8)[0]["response"]["id"]
        client.responses.cancel(response_id)
        last = stream.read()[-1]

        assert stream.done
        assert stream.error is None
    assert (last["type"], last["response"]["status"], last["response"]["error"]) == (
        "response.failed",
        "cancelled",
        None,
    )


def test_a_failure_of_the_model_server_is_the_last_event_and_no_error_event_of_its_own(
    calm: Stack, models: ModelServer
) -> None:
    with reading(calm.port, calm.key, RESPONSES, asked(models, drop_after=5)) as stream:
        events = stream.read()

    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "server_error"
    assert (stream.done, stream.error) == (True, None)


def test_a_stopping_api_ends_its_streams_so_that_clients_resume_elsewhere(up: Stack, models: ModelServer) -> None:
    with reading(up.port, up.key, RESPONSES, asked(models, tokens=60, delay_s=0.1)) as stream:
        head = list(stream.read(8))
        up.children["api"].ask_to_stop()
        head += stream.read()[8:]

        assert stream.error is not None
        assert not stream.done
    response_id, after = head[0]["response"]["id"], stream.error["sequence_number"]
    assert after == head[-1]["sequence_number"]
    path = f"{RESPONSES}/{response_id}?stream=true&starting_after={after}"
    with reading(up.port_2, up.key, path, after=after) as stream:
        events = head + stream.read()
    stream_checker.check(events)
    assert events[-1]["response"]["status"] == "completed"


def test_a_foreground_stream_is_cut_by_a_deploy_and_its_response_completes(up: Stack, models: ModelServer) -> None:
    with reading(up.port, up.key, RESPONSES, asked(models, background=False, tokens=60, delay_s=0.1)) as stream:
        stream.read(8)
        up.children["api"].ask_to_stop()
        stream.read()

        assert not stream.done
    until(lambda: up.sql("select status from responses") == [("completed",)], within_s=20)


def test_a_reader_that_takes_nothing_holds_up_no_other(calm: Stack, models: ModelServer) -> None:
    body = asked(models, tokens=60, delay_s=0.02)
    with reading(calm.port, calm.key, RESPONSES, body) as slow:
        response_id = slow.read(1)[0]["response"]["id"]
        path = f"{RESPONSES}/{response_id}?stream=true"
        with reading(calm.port, calm.key, path) as quick:
            whole = quick.read()
        assert slow.read() == whole


def test_streams_of_others_and_of_nothing_look_the_same(calm: Stack, models: ModelServer) -> None:
    with calm.client() as client:
        created = client.responses.create(**asked(models, tokens=3) | {"stream": False})
        ended(client, created.id)
        stored = client.responses.create(model="scripted", input="hello")
        with pytest.raises(openai.BadRequestError, match="not created with background=true") as refused:
            client.responses.retrieve(stored.id, stream=True)
        assert refused.value.param == "stream"
        with pytest.raises(openai.NotFoundError) as unknown:
            client.responses.retrieve("resp_" + "0" * 32, stream=True)
    with open_core(calm.settings) as core:
        key = core.keys.create(project="other")
    with (
        openai.OpenAI(base_url=f"http://127.0.0.1:{calm.port}/v1", api_key=key, max_retries=0) as other,
        pytest.raises(openai.NotFoundError) as foreign,
    ):
        other.responses.retrieve(created.id, stream=True)
    assert foreign.value.body["message"].replace(created.id, "") == unknown.value.body["message"].replace(  # type: ignore[index]
        "resp_" + "0" * 32, ""
    )


def test_a_stream_read_through_fifty_disconnects_is_the_one_of_an_undisturbed_reader(
    calm: Stack, models: ModelServer
) -> None:
    interrupted(calm, models, random.randrange(2**32), disconnects=50, tokens=250)


def test_every_helper_of_the_client_comes_to_the_same_final_object(calm: Stack, models: ModelServer) -> None:
    body = asked(models, tokens=20)
    del body["stream"]
    with calm.client() as client:
        with client.responses.stream(**body) as live:
            seen = list(live)
            final = live.get_final_response()
        assert client.responses.retrieve(final.id).output_text == final.output_text
        rest = list(client.responses.retrieve(final.id, stream=True, starting_after=4))
        assert [event.sequence_number for event in rest] == list(range(5, len(calm.log_of(final.id))))
        assert rest[-1].response.output_text == final.output_text  # type: ignore[union-attr]
        with client.responses.stream(response_id=final.id, starting_after=4) as again:
            assert again.get_final_response().output_text == final.output_text
    assert seen[-1].type == "response.completed"
    assert final.output_text == "".join(f"tok{number} " for number in range(20))


async def _async_finals(up: Stack, body: dict) -> list[str]:
    async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{up.port_2}/v1", api_key=up.key, max_retries=0) as client:
        async with client.responses.stream(**body) as live:
            final = await live.get_final_response()
        rest = [event async for event in await client.responses.retrieve(final.id, stream=True, starting_after=4)]
        async with client.responses.stream(response_id=final.id, starting_after=4) as again:
            return [final.output_text, rest[-1].response.output_text, (await again.get_final_response()).output_text]


def test_the_async_client_comes_to_the_same_final_object(calm: Stack, models: ModelServer) -> None:
    body = asked(models, tokens=20)
    del body["stream"]
    texts = asyncio.run(_async_finals(calm, body))

    assert set(texts) == {"".join(f"tok{number} " for number in range(20))}
