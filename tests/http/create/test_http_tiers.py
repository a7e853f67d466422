"""Requested and assigned service tiers, and the list of models."""

import openai
import pytest

from core.quota.tier_request import PRIORITY_NAMES
from tests.http.http_api import Api, check_error


@pytest.fixture
def privileged_key(api: Api) -> str:
    """A key that may use `no-limit`."""
    return api.core.keys.create({"no-limit"})


@pytest.mark.parametrize(
    ("requested_tier", "expected_tier", "privileged_tier"),
    [
        (None, "default", "default"),
        ("auto", "default", "default"),
        ("default", "default", "default"),
        ("flex", "flex", "flex"),
        *[(name, "default", "no-limit") for name in sorted(PRIORITY_NAMES)],
    ],
)
def test_a_new_response_contains_its_assigned_tier(
    api: Api, privileged_key: str, requested_tier: str | None, expected_tier: str, privileged_tier: str
) -> None:
    for key, tier in ((api.key, expected_tier), (privileged_key, privileged_tier)):
        response = api.create_response(service_tier=requested_tier, key=key)
        assert response["service_tier"] == tier
        assert api.get_response(response["id"]).get_json()["service_tier"] == tier


def test_the_tier_no_limit_requires_the_right(api: Api, privileged_key: str) -> None:
    row_counts = api.count_rows()
    answer = api.post_response(service_tier="no-limit")
    message = check_error(answer, 403, "permission_denied", "service_tier", "permission_error")
    assert "no-limit" in message
    assert api.count_rows() == row_counts

    assert api.create_response(service_tier="no-limit", key=privileged_key)["service_tier"] == "no-limit"


def test_a_granted_right_applies_to_the_next_request(api: Api) -> None:
    key = api.core.keys.create()
    assert api.post_response(service_tier="no-limit", key=key).status_code == 403

    api.core.keys.register(key, {"no-limit"})

    assert api.post_response(service_tier="no-limit", key=key).status_code == 200


def test_the_tier_over_limit_cannot_be_requested(api: Api, privileged_key: str) -> None:
    row_counts = api.count_rows()

    message = check_error(
        api.post_response(service_tier="over-limit", key=privileged_key), 400, "invalid_value", "service_tier"
    )

    assert "only the server assigns it" in message
    assert api.count_rows() == row_counts


@pytest.mark.parametrize(("window", "hours"), [("2h", 2), ("8h", 8)])
@pytest.mark.parametrize("requested_tier", [None, "auto", "default", "flex"])
def test_a_completion_window_sets_the_tier_flex_and_the_deadline(
    api: Api, window: str, hours: int, requested_tier: str | None
) -> None:
    response = api.create_response(background_options={"completion_window": window}, service_tier=requested_tier)

    assert response["service_tier"] == "flex"
    deadline = "extract(epoch from queued_until - created_at) / 3600"
    ((deadline_hours, tier),) = api.sql(f"select {deadline}, tier from responses where id = %s", response["id"])
    assert (deadline_hours, tier) == (hours, "flex")


@pytest.mark.parametrize("window", [None, "soonest"])
def test_the_queue_timeout_applies_without_a_completion_window(api: Api, window: str | None) -> None:
    response = api.create_response(background_options={"completion_window": window, "continuation_id": "a"})

    assert response["service_tier"] == "default"
    query = "select extract(epoch from queued_until - created_at) from responses where id = %s"
    assert api.sql(query, response["id"]) == [(api.core.settings.queue_timeout_s,)]


def test_models_are_listed_and_found_by_names_with_slashes(api: Api) -> None:
    models = api.send_request("GET", "/v1/models").get_json()

    assert models["object"] == "list"
    assert [model["id"] for model in models["data"]] == ["scripted", "meta/llama-3"]
    for model in models["data"]:
        openai.types.Model.model_validate(model, strict=True)
        assert api.send_request("GET", f"/v1/models/{model['id']}").get_json() == model
    assert api.send_request("GET", "/v1/models/meta%2Fllama-3").get_json()["id"] == "meta/llama-3"


@pytest.mark.parametrize("name", ["gpt-99", "SCRIPTED", "%00", "%ff", "a//b", "scripted/", "x" * 5000])
def test_a_request_for_an_unknown_model_gets_404(api: Api, name: str) -> None:
    message = check_error(api.send_request("GET", f"/v1/models/{name}"), 404, "model_not_found", "model")

    assert message.startswith("The model '")
