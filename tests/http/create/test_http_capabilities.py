"""A request is rejected if it needs a capability that its model does not have."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import errors
from core.bootstrap import open_core
from core.config import catalog
from core.settings import Settings
from tests.contract.objects import with_schema
from tests.harness.engine import register_worker
from tests.http.http_api import Api, check_error

FUNCTION = {"type": "function", "name": "f", "parameters": {}}
CONFIGURATION = """
[models.plain]
base_url = "http://127.0.0.1:9/v1"
supports = []
[models.able]
base_url = "http://127.0.0.1:9/v1"
supports = ["tools", "json_schema", "logprobs", "images", "reasoning"]
[models.scripted]
base_url = "http://127.0.0.1:9/v1"
"""
IMAGE = {"type": "input_image", "image_url": "https://example.com/a.png"}
# Changes to a request that use a feature, and the parameter that is named if the model lacks the feature.
FEATURES: dict[str, tuple[dict[str, Any], str]] = {
    "functions": ({"tools": [FUNCTION]}, "tools"),
    "custom tools": ({"tools": [{"type": "custom", "name": "c"}]}, "tools"),
    "a schema": ({"text": with_schema()}, "text.format"),
    "alternatives": ({"top_logprobs": 1}, "top_logprobs"),
    "log probabilities": ({"include": ["message.output_text.logprobs"]}, "include"),
    "an effort": ({"reasoning": {"effort": "low"}}, "reasoning.effort"),
    "a summary": ({"reasoning": {"summary": "auto"}}, "reasoning.summary"),
    "a summary by its old name": ({"reasoning": {"generate_summary": "auto"}}, "reasoning.summary"),
    "an image": ({"input": [{"role": "user", "content": [IMAGE]}]}, "input[0].content[0]"),
    "encrypted reasoning": ({"include": ["reasoning.encrypted_content"]}, "include"),
}
REQUESTS_WITHOUT_FEATURES: dict[str, dict[str, Any]] = {
    "tools that must not be used": {"tools": [FUNCTION], "tool_choice": "none"},
    "hosted tools": {"tools": [{"type": "web_search"}]},
    "JSON": {"text": {"format": {"type": "json_object"}}},
    "no effort": {"reasoning": {"effort": "none"}},
    "no alternatives": {"top_logprobs": 0},
    "reasoning of another model": {"input": [{"type": "reasoning", "summary": []}, {"role": "user", "content": "a"}]},
}


@pytest.fixture
def api(settings: Settings, tmp_path: Path) -> Iterator[Api]:
    """An application with a model without capabilities, a model with all, and a model with unknown capabilities."""
    path = tmp_path / "able.toml"
    path.write_text(CONFIGURATION)
    changes = {"config": path, "secret_key": Settings(secret_key="k" * 32).secret_key}
    with open_core(settings.model_copy(update=changes)) as core:
        yield Api(core)


@pytest.mark.parametrize(("changes", "param"), FEATURES.values(), ids=FEATURES)
def test_a_feature_that_the_model_lacks_is_rejected_with_the_parameter(
    api: Api, changes: dict[str, Any], param: str
) -> None:
    row_counts = api.count_rows()

    for background in (True, False):
        message = check_error(
            api.post_response(model="plain", background=background, **changes), 400, "unsupported_parameter", param
        )
        assert message.startswith(f"'{param}' is not supported with the model 'plain'")

    assert api.count_rows() == row_counts


@pytest.mark.parametrize("model", ["able", "scripted"])
@pytest.mark.parametrize("changes", [changes for changes, _ in FEATURES.values()], ids=FEATURES)
def test_a_model_with_all_or_with_unknown_capabilities_accepts_every_feature(
    api: Api, model: str, changes: dict[str, Any]
) -> None:
    assert api.post_response(model=model, **changes).status_code == 200


def test_an_invalid_image_is_reported_before_a_missing_capability(api: Api) -> None:
    invalid_image = IMAGE | {"image_url": "data:image/png;base64,AAAA"}

    check_error(
        api.post_response(model="plain", input=[{"role": "user", "content": [invalid_image]}]),
        400,
        "invalid_image_format",
        "input[0].content[0].image_url",
    )


@pytest.mark.parametrize("changes", REQUESTS_WITHOUT_FEATURES.values(), ids=REQUESTS_WITHOUT_FEATURES)
def test_a_request_that_uses_no_feature_is_accepted_by_every_model(api: Api, changes: dict[str, Any]) -> None:
    assert api.post_response(model="plain", **changes).status_code == 200


def test_an_unknown_capability_in_the_configuration_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('[models.a]\nbase_url = "http://127.0.0.1:9/v1"\nsupports = ["tools", "magic"]\n')

    with pytest.raises(errors.BadSettings, match=r"models\.a\.supports.*'json_schema'"):
        catalog.load(path)


def test_a_model_without_image_support_rejects_a_context_with_images(api: Api) -> None:
    register_worker(api.core)
    first_response = api.create_ended_response(model="able", input=[{"role": "user", "content": [IMAGE]}])
    row_counts = api.count_rows()

    answer = api.post_response(model="plain", previous_response_id=first_response["id"])
    check_error(answer, 400, "unsupported_parameter", "previous_response_id")
    (item,) = api.list_input_items(first_response["id"]).get_json()["data"]
    reference_answer = api.post_response(model="plain", input=[{"type": "item_reference", "id": item["id"]}])
    check_error(reference_answer, 400, "unsupported_parameter", "input")

    assert api.count_rows() == row_counts
    assert api.post_response(model="able", previous_response_id=first_response["id"]).status_code == 200
