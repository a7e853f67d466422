"""The models that workers publish: a response is dispatched only to workers that know its model."""

import logging
from pathlib import Path

import pytest
import redis

from core.bootstrap import Core, open_core
from core.dispatch.celery_app import KEY_PREFIX, queue_name, worker_queue
from core.settings import Settings
from tests.harness.engine import (
    claim,
    create_caller,
    dispatched_ids,
    insert_backlog,
    register_worker,
    run_concurrently,
    sql,
    submit,
)


def count_messages(settings: Settings) -> tuple[int, dict[str, int]]:
    """The number of messages in the queue of the lane `default`, and in the queue of each worker."""
    worker_ids = [worker_id for (worker_id,) in sql(settings, "select id from workers")]
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as valkey:
        lane_count = valkey.llen(KEY_PREFIX + queue_name("default"))
        worker_counts = {worker_id: valkey.llen(KEY_PREFIX + worker_queue(worker_id).name) for worker_id in worker_ids}
    return lane_count, worker_counts


def test_a_response_of_a_model_that_no_worker_knows_is_not_dispatched(core: Core, settings: Settings) -> None:
    register_worker(core, models={"other": None})

    submit(core, create_caller(core))
    core.dispatch.dispatch()

    assert dispatched_ids(settings) == []


def test_a_response_of_a_model_that_all_workers_know_is_dispatched_at_its_create(
    core: Core, settings: Settings
) -> None:
    register_worker(core, "w1", models={"scripted": None})
    register_worker(core, "w2", models={"scripted": None, "other": 3})

    response_id = submit(core, create_caller(core))

    assert dispatched_ids(settings) == [response_id]
    assert count_messages(settings) == (1, {"w1": 0, "w2": 0})


def test_only_workers_that_know_the_model_receive_its_responses_each_within_its_slots(
    core: Core, settings: Settings
) -> None:
    register_worker(core, "old", slots=50, models={"other": None})
    register_worker(core, "new-1", slots=3, models={"scripted": None})
    register_worker(core, "new-2", slots=2, models={"scripted": None})
    insert_backlog(settings, submit(core, create_caller(core)), 9)

    while core.dispatch.dispatch():
        pass

    assert count_messages(settings) == (0, {"old": 0, "new-1": 3, "new-2": 2})


def test_a_worker_is_not_chosen_again_before_it_has_claimed_what_it_was_sent(core: Core, settings: Settings) -> None:
    register_worker(core, "old", slots=5, models={"other": None})
    for name in ("new-1", "new-2", "new-3"):
        register_worker(core, name, slots=1, models={"scripted": None})
    owner = create_caller(core)

    for _ in range(3):
        submit(core, owner)
        core.dispatch.dispatch()

    assert count_messages(settings) == (0, {"old": 0, "new-1": 1, "new-2": 1, "new-3": 1})


def test_responses_of_an_old_and_a_new_model_share_the_slots_of_a_worker_that_knows_both_models(
    core: Core, settings: Settings
) -> None:
    register_worker(core, "old", slots=2, models={"scripted": None})
    register_worker(core, "new", slots=2, models={"scripted": None, "narrow": None})
    owner = create_caller(core)
    for model in ("narrow", "scripted"):
        insert_backlog(settings, submit(core, owner, model=model), 9)

    while core.dispatch.dispatch():
        pass

    lane_count, worker_counts = count_messages(settings)
    assert lane_count + worker_counts["new"] == 4
    assert worker_counts["new"] <= 2
    assert lane_count >= 2


def test_messages_for_a_stopped_worker_expire_and_its_responses_are_dispatched_to_another_worker(
    core: Core, settings: Settings
) -> None:
    register_worker(core, "old", models={"other": None})
    register_worker(core, "gone", models={"scripted": None})
    response_id = submit(core, create_caller(core))
    core.dispatch.dispatch()
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as valkey:
        assert 0 < valkey.ttl(KEY_PREFIX + worker_queue("gone").name) <= 60

    core.workers.unregister("gone")
    register_worker(core, "next", models={"scripted": None})
    sql(settings, "update responses set dispatched_at = now() - interval '1 hour'")
    core.sweep.run()

    assert dispatched_ids(settings) == [response_id]
    assert count_messages(settings) == (0, {"old": 0, "next": 1})


def test_a_worker_that_does_not_publish_its_models_gets_responses_of_all_models(core: Core, settings: Settings) -> None:
    register_worker(core, "w1", models=None)

    response_id = submit(core, create_caller(core))

    assert dispatched_ids(settings) == [response_id]


def test_a_new_registration_of_a_worker_replaces_its_published_models(core: Core, settings: Settings) -> None:
    register_worker(core, models={"other": None})
    response_id = submit(core, create_caller(core))

    register_worker(core, models={"scripted": None})
    core.dispatch.dispatch()

    assert dispatched_ids(settings) == [response_id]


def test_a_process_that_does_not_know_a_model_observes_the_limit_that_workers_publish(
    core: Core, settings: Settings, tmp_path: Path
) -> None:
    register_worker(core, slots=50, models={"scripted": 3})
    insert_backlog(settings, submit(core, create_caller(core)), 9)
    sql(settings, "update responses set dispatched_at = null")
    config = tmp_path / "without_models.toml"
    config.write_text("")

    with open_core(settings.model_copy(update={"config": config})) as other_core:
        run_concurrently(*[other_core.dispatch.dispatch] * 4)
        assert len(dispatched_ids(settings)) == 3
        claim(core, dispatched_ids(settings)[0])
        other_core.dispatch.dispatch()

    assert len(dispatched_ids(settings)) == 2


def test_a_model_that_no_worker_knows_is_reported_once_and_named_when_its_response_fails(
    core: Core, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    register_worker(core, models={"other": None})
    submit(core, create_caller(core))
    with caplog.at_level(logging.WARNING):
        core.sweep.run()
        core.sweep.run()
    reports = [record for record in caplog.records if record.message == "no worker of the lane knows the model"]
    assert [(record.lane, record.model) for record in reports] == [("default", "scripted")]

    sql(settings, "update responses set queued_until = now() - interval '1 s'")
    core.sweep.run()

    ((status, document),) = sql(settings, "select status, document from responses")
    assert status == "failed"
    assert "because no worker knows the model 'scripted'" in document
