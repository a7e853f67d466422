"""Service tiers as requested and granted, and what the server reports about its models."""

import openai
import pytest

from core.quota.tier_request import PRIORITY_NAMES
from tests.http.http_api import Api, error_of


@pytest.fixture
def privileged(api: Api) -> str:
    """A key that may use `no-limit`."""
    return api.core.keys.create({"no-limit"})


@pytest.mark.parametrize(
    ("asked", "plain", "with_right"),
    [
        (None, "default", "default"),
        ("auto", "default", "default"),
        ("default", "default", "default"),
        ("flex", "flex", "flex"),
        *[(name, "default", "no-limit") for name in sorted(PRIORITY_NAMES)],
    ],
)
def test_a_response_says_from_the_start_which_tier_it_got(
    api: Api, privileged: str, asked: str | None, plain: str, with_right: str
) -> None:
    for key, given in ((api.key, plain), (privileged, with_right)):
        created = api.created(service_tier=asked, key=key)
        assert created["service_tier"] == given
        assert api.get(created["id"]).get_json()["service_tier"] == given


def test_no_limit_is_for_keys_with_the_right_and_403_for_others(api: Api, privileged: str) -> None:
    before = api.stored()
    answer = api.create(service_tier="no-limit")
    says = error_of(answer, 403, "permission_denied", "service_tier", "permission_error")
    assert "no-limit" in says
    assert api.stored() == before

    assert api.created(service_tier="no-limit", key=privileged)["service_tier"] == "no-limit"


def test_a_right_counts_from_the_next_request_on(api: Api) -> None:
    key = api.core.keys.create()
    assert api.create(service_tier="no-limit", key=key).status_code == 403

    api.core.keys.register(key, {"no-limit"})

    assert api.create(service_tier="no-limit", key=key).status_code == 200


def test_over_limit_is_never_asked_for_even_with_every_right(api: Api, privileged: str) -> None:
    before = api.stored()

    says = error_of(api.create(service_tier="over-limit", key=privileged), 400, "invalid_value", "service_tier")

    assert "only the server assigns it" in says
    assert api.stored() == before


@pytest.mark.parametrize(("window", "hours"), [("2h", 2), ("8h", 8)])
@pytest.mark.parametrize("asked", [None, "auto", "default", "flex"])
def test_a_completion_window_makes_it_flex_with_that_deadline(
    api: Api, window: str, hours: int, asked: str | None
) -> None:
    created = api.created(background_options={"completion_window": window}, service_tier=asked)

    assert created["service_tier"] == "flex"
    deadline = "extract(epoch from queued_until - created_at) / 3600"
    ((found, tier),) = api.sql(f"select {deadline}, tier from responses where id = %s", created["id"])
    assert (found, tier) == (hours, "flex")


@pytest.mark.parametrize("window", [None, "soonest"])
def test_without_a_completion_window_a_response_waits_as_long_as_the_server_says(api: Api, window: str | None) -> None:
    created = api.created(background_options={"completion_window": window, "continuation_id": "a"})

    assert created["service_tier"] == "default"
    waits = "select extract(epoch from queued_until - created_at) from responses where id = %s"
    assert api.sql(waits, created["id"]) == [(api.core.settings.queue_timeout_s,)]


def test_models_are_listed_and_found_by_name_slashes_and_all(api: Api) -> None:
    listed = api.ask("GET", "/v1/models").get_json()

    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["scripted", "meta/llama-3"]
    for model in listed["data"]:
        openai.types.Model.model_validate(model, strict=True)
        assert api.ask("GET", f"/v1/models/{model['id']}").get_json() == model
    assert api.ask("GET", "/v1/models/meta%2Fllama-3").get_json()["id"] == "meta/llama-3"


@pytest.mark.parametrize("name", ["gpt-99", "SCRIPTED", "%00", "%ff", "a//b", "scripted/", "x" * 5000])
def test_a_model_that_is_not_there_is_404(api: Api, name: str) -> None:
    says = error_of(api.ask("GET", f"/v1/models/{name}"), 404, "model_not_found", "model")

    assert says.startswith("The model '")
