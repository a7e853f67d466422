"""Images and files as variables of prompts, and as fixed parts of templates."""

from typing import Any

import pytest

from tests import documents
from tests.contract.media import PNG
from tests.http.http_api import Api, checked, error_of
from tests.http.prompts import made, post, rows

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


def asked(prompt: dict[str, Any], **variables: Any) -> dict[str, Any]:
    given = {"photo": IMAGE, "report": FILE} | variables
    return {"prompt": {"id": prompt["id"], "variables": given}, "input": None, "model": None}


def test_an_image_and_a_file_take_the_place_of_their_placeholders(running: Api) -> None:
    created = checked(running.create(**asked(made(running, TEMPLATE))), "queued")

    shown = running.items(created["id"], **{"include[]": "message.input_image.image_url"}).get_json()["data"]
    assert [[part["type"] for part in item["content"]] for item in shown] == [
        ["input_image", "input_text"],
        ["input_file"],
    ]
    assert shown[0]["content"][0]["image_url"] == PNG
    assert shown[1]["content"][0]["filename"] == "a.txt"
    assert created["prompt"]["variables"] == {
        "photo": {"type": "input_image", "detail": "auto"},
        "report": {"type": "input_file", "filename": "a.txt"},
    }


def test_a_large_image_that_a_variable_stands_for_is_kept_apart(running: Api) -> None:
    large = documents.data_url("image/png", documents.noise(64))

    created = running.create(**asked(made(running, TEMPLATE), photo=IMAGE | {"image_url": large})).get_json()

    ((request, document),) = running.sql("select request, document from responses where id = %s", created["id"])
    assert len(large) > 8192
    assert large[-100:] not in request + document


def test_an_image_is_not_echoed_however_its_data_url_is_written(running: Api) -> None:
    shouted = {"type": "input_image", "image_url": PNG.replace("data:", "DATA:")}

    created = checked(running.create(**asked(made(running, TEMPLATE), photo=shouted)), "queued")

    assert created["prompt"]["variables"]["photo"] == {"type": "input_image", "detail": "auto"}


def test_the_url_of_an_image_is_echoed(running: Api) -> None:
    image = {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"}

    created = checked(running.create(**asked(made(running, TEMPLATE), photo=image)), "queued")

    assert created["prompt"]["variables"]["photo"] == image


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
def test_an_image_that_is_none_is_named_by_its_variable(running: Api, value: Any, code: str, param: str) -> None:
    prompt = made(running, TEMPLATE)
    before = running.stored()

    error_of(running.create(**asked(prompt, photo=value)), 400, code, param)

    assert running.stored() == before


def test_a_template_may_have_images_of_its_own_which_are_checked_when_it_is_made(running: Api) -> None:
    def template(url: str) -> dict[str, Any]:
        part = {"type": "input_image", "image_url": url}
        return {
            "input": [{"role": "user", "content": [part, {"type": "input_text", "text": "{{x}}"}]}],
            "variables": {"x": {"type": "image", "default": part}},
        }

    prompt = made(running, template(PNG))
    before = rows(running)
    created = running.created(prompt={"id": prompt["id"]}, input=None)
    assert [item["type"] for item in running.items(created["id"]).get_json()["data"][0]["content"]] == [
        "input_image"
    ] * 2
    bad = template("data:image/png;base64,!!!!")
    error_of(
        post(running, {"name": "bad image", "template": bad}),
        400,
        "invalid_base64_image",
        "template.input[0].content[0].image_url",
    )
    bad["input"] = "{{x}}"
    error_of(
        post(running, {"name": "bad image", "template": bad}),
        400,
        "invalid_base64_image",
        "template.variables.x.default.image_url",
    )
    assert rows(running) == before
