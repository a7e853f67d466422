"""Images and files as variables of prompts, and as fixed parts of templates."""

from typing import Any

import pytest

from tests import documents
from tests.contract.media import PNG
from tests.http.http_api import Api, check_document, check_error
from tests.http.prompts import count_prompt_rows, create_prompt, post_prompt

TEMPLATE = {
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "{{photo}}"}, {"type": "input_text", "text": "?"}]},
        {"role": "user", "content": "{{report}}"},
    ],
    "variables": {"photo": {"type": "image"}, "report": {"type": "file"}},
    "model": "scripted",
}
IMAGE = {"type": "input_image", "image_url": PNG}
FILE = {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,SGVsbG8="}


def request_with_prompt(prompt: dict[str, Any], **variables: Any) -> dict[str, Any]:
    """The fields of a request with a prompt from `TEMPLATE`; `variables` replace the default values."""
    values = {"photo": IMAGE, "report": FILE} | variables
    return {"prompt": {"id": prompt["id"], "variables": values}, "input": None, "model": None}


def test_placeholders_are_replaced_by_images_and_files(worker_api: Api) -> None:
    response = check_document(
        worker_api.post_response(**request_with_prompt(create_prompt(worker_api, TEMPLATE))), "queued"
    )

    query = {"include[]": "message.input_image.image_url"}
    items = worker_api.list_input_items(response["id"], **query).get_json()["data"]
    assert [[part["type"] for part in item["content"]] for item in items] == [
        ["input_image", "input_text"],
        ["input_file"],
    ]
    assert items[0]["content"][0]["image_url"] == PNG
    assert items[1]["content"][0]["filename"] == "a.txt"
    assert response["prompt"]["variables"] == {
        "photo": {"type": "input_image", "detail": "auto"},
        "report": {"type": "input_file", "filename": "a.txt"},
    }


def test_a_large_image_of_a_variable_is_stored_separately(worker_api: Api) -> None:
    large_url = documents.data_url("image/png", documents.noise(64))

    response = worker_api.post_response(
        **request_with_prompt(create_prompt(worker_api, TEMPLATE), photo=IMAGE | {"image_url": large_url})
    ).get_json()

    ((request, document),) = worker_api.sql("select request, document from responses where id = %s", response["id"])
    assert len(large_url) > 8192
    assert large_url[-100:] not in request + document


def test_a_data_url_in_upper_case_is_not_echoed(worker_api: Api) -> None:
    upper_case_image = {"type": "input_image", "image_url": PNG.replace("data:", "DATA:")}

    response = check_document(
        worker_api.post_response(**request_with_prompt(create_prompt(worker_api, TEMPLATE), photo=upper_case_image)),
        "queued",
    )

    assert response["prompt"]["variables"]["photo"] == {"type": "input_image", "detail": "auto"}


def test_the_url_of_an_image_is_echoed(worker_api: Api) -> None:
    image = {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"}

    response = check_document(
        worker_api.post_response(**request_with_prompt(create_prompt(worker_api, TEMPLATE), photo=image)), "queued"
    )

    assert response["prompt"]["variables"]["photo"] == image


@pytest.mark.parametrize(
    ("value", "code", "param"),
    [
        ("a text", "invalid_type", "prompt.variables.photo"),
        (FILE, "invalid_type", "prompt.variables.photo"),
        ({"type": "input_image"}, "missing_required_parameter", "prompt.variables.photo.image_url"),
        ({"type": "input_image", "image_url": 5}, "invalid_type", "prompt.variables.photo.image_url"),
        (
            {"type": "input_image", "image_url": "data:image/png;base64,!!!!"},
            "invalid_base64_image",
            "prompt.variables.photo.image_url",
        ),
    ],
)
def test_an_invalid_image_is_rejected_with_the_name_of_its_variable(
    worker_api: Api, value: Any, code: str, param: str
) -> None:
    prompt = create_prompt(worker_api, TEMPLATE)
    row_counts = worker_api.count_rows()

    check_error(worker_api.post_response(**request_with_prompt(prompt, photo=value)), 400, code, param)

    assert worker_api.count_rows() == row_counts


def test_the_images_of_a_template_are_checked_when_it_is_created(worker_api: Api) -> None:
    def template(url: str) -> dict[str, Any]:
        part = {"type": "input_image", "image_url": url}
        return {
            "input": [{"role": "user", "content": [part, {"type": "input_text", "text": "{{x}}"}]}],
            "variables": {"x": {"type": "image", "default": part}},
        }

    prompt = create_prompt(worker_api, template(PNG))
    row_counts = count_prompt_rows(worker_api)
    response = worker_api.create_response(prompt={"id": prompt["id"]}, input=None)
    assert [item["type"] for item in worker_api.list_input_items(response["id"]).get_json()["data"][0]["content"]] == [
        "input_image"
    ] * 2
    invalid_template = template("data:image/png;base64,!!!!")
    check_error(
        post_prompt(worker_api, {"name": "bad image", "template": invalid_template}),
        400,
        "invalid_base64_image",
        "template.input[0].content[0].image_url",
    )
    invalid_template["input"] = "{{x}}"
    check_error(
        post_prompt(worker_api, {"name": "bad image", "template": invalid_template}),
        400,
        "invalid_base64_image",
        "template.variables.x.default.image_url",
    )
    assert count_prompt_rows(worker_api) == row_counts
