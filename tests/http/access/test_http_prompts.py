"""/v1/prompts: the prompts of a project are stored, versioned, listed and deleted."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.http.http_api import Api, check_error
from tests.http.prompts import TEMPLATE, count_prompt_rows, create_prompt, get_prompt, post_prompt

UNKNOWN_ID = "pmpt_" + "0" * 48


def test_a_new_prompt_has_version_1_and_can_be_read(api: Api) -> None:
    prompt = create_prompt(api, name="é\u2028 name", description="What it is for.")

    assert prompt["id"].startswith("pmpt_")
    assert prompt | {"id": "", "created_at": 0} == {
        "id": "",
        "object": "prompt",
        "created_at": 0,
        "name": "é\u2028 name",
        "description": "What it is for.",
        "default_version": "1",
        "versions": ["1"],
    }
    assert get_prompt(api, f"/{prompt['id']}").get_json() == prompt
    assert get_prompt(api, f"/{prompt['id']}/versions/1").get_json()["template"] == {
        "instructions": "You are {{role}}.",
        "variables": {"role": {"type": "text"}},
    }


def test_versions_are_numbered_from_1_and_never_change(api: Api) -> None:
    prompt = create_prompt(api)
    first_version = get_prompt(api, f"/{prompt['id']}/versions/1").get_json()

    second_version = post_prompt(api, {"template": {"input": "Hi."}}, f"/{prompt['id']}/versions").get_json()
    third_version = post_prompt(
        api, {"template": {"input": "Ho."}, "make_default": True}, f"/{prompt['id']}/versions"
    ).get_json()

    assert first_version.keys() == {"prompt_id", "object", "version", "created_at", "template"}
    assert second_version | {"created_at": 0} == {
        "prompt_id": prompt["id"],
        "object": "prompt.version",
        "version": "2",
        "created_at": 0,
        "template": {"input": "Hi.", "variables": {}},
    }
    assert third_version["version"] == "3"
    assert get_prompt(api, f"/{prompt['id']}").get_json() == prompt | {
        "default_version": "3",
        "versions": ["1", "2", "3"],
    }
    assert get_prompt(api, f"/{prompt['id']}/versions/1").get_json() == first_version
    assert get_prompt(api, f"/{prompt['id']}/versions/2").get_json() == second_version


def test_concurrently_added_versions_get_consecutive_numbers(api: Api) -> None:
    prompt = create_prompt(api)

    def add_version(number: int) -> dict[str, Any]:
        return post_prompt(api, {"template": {"input": f"n{number}"}}, f"/{prompt['id']}/versions").get_json()

    with ThreadPoolExecutor(8) as threads:
        versions = list(threads.map(add_version, range(40)))

    assert sorted(int(version["version"]) for version in versions) == list(range(2, 42))
    assert get_prompt(api, f"/{prompt['id']}").get_json()["versions"] == [str(number) for number in range(1, 42)]
    for number, version in enumerate(versions):
        template = get_prompt(api, f"/{prompt['id']}/versions/{version['version']}").get_json()["template"]
        assert template["input"] == f"n{number}"


def test_the_name_and_the_default_version_of_a_prompt_can_be_changed(api: Api) -> None:
    prompt = create_prompt(api, description="old")
    post_prompt(api, {"template": {"input": "Hi."}}, f"/{prompt['id']}/versions")
    name = f"renamed {prompt['name']}"

    updated_prompt = post_prompt(api, {"name": name, "default_version": "2"}, f"/{prompt['id']}").get_json()

    assert updated_prompt == prompt | {"name": name, "default_version": "2", "versions": ["1", "2"]}
    assert post_prompt(api, {"name": name, "description": "new"}, f"/{prompt['id']}").status_code == 200
    assert post_prompt(api, {"default_version": 1, "name": None}, f"/{prompt['id']}").get_json() == updated_prompt | {
        "default_version": "1",
        "description": "new",
    }
    assert post_prompt(api, {}, f"/{prompt['id']}").get_json() == get_prompt(api, f"/{prompt['id']}").get_json()


def test_the_name_of_a_prompt_is_unique_in_its_project(api: Api, other_key: str) -> None:
    prompt, second_prompt = create_prompt(api), create_prompt(api)
    row_counts = count_prompt_rows(api)

    check_error(post_prompt(api, {"name": prompt["name"], "template": TEMPLATE}), 400, "prompt_name_taken", "name")
    check_error(post_prompt(api, {"name": prompt["name"]}, f"/{second_prompt['id']}"), 400, "prompt_name_taken", "name")

    assert count_prompt_rows(api) == row_counts
    assert get_prompt(api, f"/{second_prompt['id']}").get_json() == second_prompt
    assert create_prompt(api, name=prompt["name"], key=other_key)["id"] != prompt["id"]
    with ThreadPoolExecutor(8) as threads:
        statuses = list(
            threads.map(lambda _: post_prompt(api, {"name": "race", "template": TEMPLATE}).status_code, range(16))
        )
    assert sorted(statuses) == [200] + [400] * 15


def test_the_deletion_of_a_prompt_deletes_its_versions(api: Api) -> None:
    prompt = create_prompt(api)
    answer = api.send_request("DELETE", f"/v1/prompts/{prompt['id']}")

    assert answer.get_json() == {"id": prompt["id"], "object": "prompt", "deleted": True}
    check_error(get_prompt(api, f"/{prompt['id']}"), 404, None, "prompt_id")
    check_error(api.send_request("DELETE", f"/v1/prompts/{prompt['id']}"), 404, None, "prompt_id")
    assert api.sql("select from prompt_versions where prompt_id = %s", prompt["id"]) == []
    assert create_prompt(api, name=prompt["name"])["versions"] == ["1"]


def test_a_foreign_prompt_gets_the_same_answer_as_an_unknown_prompt(api: Api, other_key: str) -> None:
    prompt = create_prompt(api)
    requests = [
        ("GET", "", None),
        ("POST", "", {"name": "stolen", "default_version": "1"}),
        ("DELETE", "", None),
        ("POST", "/versions", {"template": TEMPLATE, "make_default": True}),
        ("GET", "/versions/1", None),
    ]
    for method, path, body in requests:
        error_texts = []
        for prompt_id in (prompt["id"], UNKNOWN_ID, "x", "%00", "pmpt_" + "9" * 48):
            answer = api.send_request(method, f"/v1/prompts/{prompt_id}{path}", json=body, key=other_key)
            check_error(answer, 404, None, "prompt_id")
            error_texts.append(answer.text.replace(prompt_id, "ID").replace("\\u0000", "ID"))
        assert len(set(error_texts)) == 1

    assert get_prompt(api, f"/{prompt['id']}").get_json() == prompt
    assert prompt["id"] not in get_prompt(api, "", key=other_key, limit=100).text
    check_error(get_prompt(api, "", key=other_key, after=prompt["id"]), 400, "invalid_value", "after")


@pytest.mark.parametrize("version", ["2", "0", "-1", "01", "1.0", "\u0661", "latest", "9" * 30, "1 "])
def test_an_unknown_version_is_rejected_with_the_parameter(api: Api, version: str) -> None:
    prompt = create_prompt(api)

    check_error(get_prompt(api, f"/{prompt['id']}/versions/{version}"), 404, None, "version")
    check_error(
        post_prompt(api, {"default_version": version}, f"/{prompt['id']}"), 400, "invalid_value", "default_version"
    )
    answer = api.post_response(prompt={"id": prompt["id"], "version": version, "variables": {"role": "x"}})
    check_error(answer, 400, "prompt_version_not_found", "prompt.version")
    assert get_prompt(api, f"/{prompt['id']}").get_json() == prompt


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_the_pages_of_a_list_contain_all_prompts(api: Api, order: str) -> None:
    key = api.core.keys.create(project=f"pages {order}")
    ids = [create_prompt(api, key=key)["id"] for _ in range(5)]

    pages: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": 2, "order": order}
    while not pages or pages[-1]["has_more"]:
        pages.append(get_prompt(api, "", key=key, **query).get_json())
        query["after"] = pages[-1]["last_id"]

    prompts = [prompt for page in pages for prompt in page["data"]]
    assert [prompt["id"] for prompt in prompts] == (ids if order == "asc" else ids[::-1])
    assert [len(page["data"]) for page in pages] == [2, 2, 1]
    assert pages[0].keys() == {"object", "data", "first_id", "last_id", "has_more"}
    assert prompts[0] == get_prompt(api, f"/{prompts[0]['id']}", key=key).get_json()


@pytest.mark.parametrize(
    ("query", "param"),
    [({"limit": 0}, "limit"), ({"limit": "x"}, "limit"), ({"order": "up"}, "order"), ({"after": "\0"}, "after")],
)
def test_an_invalid_query_of_a_prompt_list_is_rejected(api: Api, query: dict[str, Any], param: str) -> None:
    check_error(get_prompt(api, "", **query), 400, "invalid_value", param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": "n", "template": TEMPLATE, "id": "x"}, "id"),
        ({"name": "n", "template": TEMPLATE | {"instruction": "x"}}, "template.instruction"),
        ({"name": "n", "template": TEMPLATE | {"metadata": {}}}, "template.metadata"),
        (
            {"name": "n", "template": TEMPLATE | {"variables": {"role": {"required": True}}}},
            "template.variables.role.required",
        ),
        (
            {"name": "n", "template": {"input": [{"role": "user", "content": "a", "id": "msg_1"}]}},
            "template.input[0].id",
        ),
    ],
)
def test_an_unknown_field_of_a_prompt_is_rejected(api: Api, body: dict[str, Any], param: str) -> None:
    row_counts = count_prompt_rows(api)

    check_error(post_prompt(api, body), 400, "unknown_parameter", param)

    assert count_prompt_rows(api) == row_counts


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"instructions": "{{x}} {{role}}"}, "invalid_value", "template.instructions"),
        ({"instructions": "{{#role}}"}, "invalid_value", "template.instructions"),
        ({"instructions": "none"}, "invalid_value", "template.variables.role"),
        ({"instructions": None}, "missing_required_parameter", "template"),
        ({"instructions": 5}, "invalid_type", "template.instructions"),
        ({"input": []}, "array_below_min_length", "template.input"),
        ({"input": [{"role": "user"}]}, "missing_required_parameter", "template.input[0].content"),
        ({"input": [{"role": "tool", "content": "a"}]}, "invalid_value", "template.input[0].role"),
        (
            {"input": [{"type": "item_reference", "id": "x"}]},
            "invalid_value",
            "template.input[0].type",
        ),
        ({"variables": {"a b": {}}}, "invalid_value", "template.variables"),
        ({"variables": {"": {}}}, "invalid_value", "template.variables"),
        ({"variables": {str(number): {} for number in range(65)}}, "object_above_max_properties", "template.variables"),
        ({"variables": {"role": {"type": "number"}}}, "invalid_value", "template.variables.role.type"),
        ({"variables": {"role": {"default": 5}}}, "invalid_type", "template.variables.role.default"),
        ({"variables": {"role": {"type": "image"}}}, "invalid_value", "template.instructions"),
        ({"temperature": 3}, "decimal_above_max_value", "template.temperature"),
        ({"max_output_tokens": 1}, "integer_below_min_value", "template.max_output_tokens"),
        ({"tools": [{"type": "function"}]}, "missing_required_parameter", "template.tools[0].name"),
        ({"tool_choice": "required"}, "invalid_value", "template.tool_choice"),
        ({"text": {"format": {"type": "xml"}}}, "invalid_value", "template.text.format.type"),
        ({"reasoning": {"effort": "huge"}}, "invalid_value", "template.reasoning.effort"),
        ({"input": "x" * 1_048_577}, "string_above_max_length", "template"),
    ],
)
def test_an_invalid_template_is_rejected_with_the_location(
    api: Api, changes: dict[str, Any], code: str, param: str
) -> None:
    prompt = create_prompt(api)
    row_counts = count_prompt_rows(api)

    check_error(post_prompt(api, {"name": "refused", "template": TEMPLATE | changes}), 400, code, param)
    check_error(post_prompt(api, {"template": TEMPLATE | changes}, f"/{prompt['id']}/versions"), 400, code, param)

    assert count_prompt_rows(api) == row_counts


@pytest.mark.parametrize("name", ["", "n" * 129, "a\0b", 5, None])
def test_an_invalid_prompt_name_is_rejected(api: Api, name: Any) -> None:
    row_counts = count_prompt_rows(api)

    answer = post_prompt(api, {"name": name, "template": TEMPLATE})

    assert answer.status_code == 400
    assert answer.get_json()["error"]["param"] == "name"
    assert count_prompt_rows(api) == row_counts
