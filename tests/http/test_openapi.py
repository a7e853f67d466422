"""The OpenAPI document agrees with the server, and /docs shows it without files from other servers."""

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from openresponses_types.types import ResponseResource

from app import openapi
from app.openapi import docs_page
from core import VERSION
from core.wire.request import UNSUPPORTED_PARAMETERS, CreateResponse
from tests.http.http_api import Api


@pytest.fixture(scope="module")
def document(api: Api) -> dict[str, Any]:
    """The OpenAPI document, as the API returns it without a key."""
    answer = api.client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    return answer.get_json()


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    validate(document, cls=OpenAPIV31SpecValidator)


def test_the_document_contains_exactly_the_existing_routes(api: Api, document: dict[str, Any]) -> None:
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in api.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert {(path, method) for path, methods in document["paths"].items() for method in methods} == routes


def test_the_document_requires_a_key_for_the_same_routes_as_the_server(api: Api, document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answer = api.client.open(path, method=method.upper())
            # An operation without `security` requires a key, because the document as a whole does.
            assert (answer.status_code == 401) == ("security" not in operation), path


def test_the_document_contains_no_internal_names(document: dict[str, Any]) -> None:
    text = json.dumps(document)

    assert not re.search(r"<\w+>|core__|pydantic|Source:|\\\\z", text)


def test_the_document_contains_exactly_the_referenced_schemas(document: dict[str, Any]) -> None:
    referenced_names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))

    assert referenced_names == document["components"]["schemas"].keys()


def test_the_document_describes_supported_and_unsupported_parameters(
    document: dict[str, Any],
) -> None:
    schema = document["components"]["schemas"]["CreateResponse"]

    assert schema["properties"].keys() == CreateResponse.model_fields.keys() | UNSUPPORTED_PARAMETERS
    assert "required" not in schema
    assert "`prompt`" in schema["properties"]["model"]["description"]
    unsupported_names = {
        name for name, value in schema["properties"].items() if "Not supported" in value.get("description", "")
    }
    assert unsupported_names == UNSUPPORTED_PARAMETERS


def test_the_documented_response_requires_all_fields_of_open_responses(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["Response"]
    required_names = {name for name, field in ResponseResource.model_fields.items() if field.is_required()}

    assert required_names <= set(schema["required"])
    optional_names = schema["properties"].keys() - set(schema["required"])
    assert optional_names == {"prompt_cache_options", "prompt", "wait_reason"}


def test_a_response_contains_only_documented_keys(api: Api, document: dict[str, Any]) -> None:
    template = {"input": "Say hello.", "model": "scripted"}
    prompt = api.send_request("POST", "/v1/prompts", json={"name": "documented", "template": template}).get_json()
    response = api.create_response(prompt_cache_options={"mode": "implicit"}, prompt={"id": prompt["id"]})

    schemas = document["components"]["schemas"]
    polled_response = api.get_response(response["id"], query_string={"wait_reason": "true"}).get_json()
    assert polled_response.keys() == schemas["Response"]["properties"].keys()
    assert response.keys() == polled_response.keys() - {"wait_reason"}
    assert prompt.keys() == schemas["Prompt"]["properties"].keys()


def test_the_document_marks_the_operations_that_stream_events(document: dict[str, Any]) -> None:
    streaming_operations = {
        (path, method)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "text/event-stream" in operation["responses"]["200"].get("content", {})
    }
    parameters = document["paths"]["/v1/responses/{response_id}"]["get"]["parameters"]
    schemas_by_name = {parameter["name"]: parameter["schema"] for parameter in parameters}

    assert streaming_operations == {("/v1/responses", "post"), ("/v1/responses/{response_id}", "get")}
    assert [schemas_by_name[name]["type"] for name in ("stream", "starting_after", "include_obfuscation")] == [
        "boolean",
        "integer",
        "boolean",
    ]


def test_the_docs_page_loads_nothing_from_other_servers(api: Api) -> None:
    page = api.client.get("/docs")
    script = api.client.get(f"/docs/{docs_page.SCRIPT_NAME}")

    assert page.status_code == 200
    assert page.mimetype == "text/html"
    assert 'data-document="/openapi.json"' in page.text
    assert "//" not in page.text + script.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    style = api.client.get("/docs/swagger-ui.css").text
    assert {url[:5] for url in re.findall(r"url\([\"']?([^)\"']+)", style)} == {"data:"}
    assert "@import" not in style


def test_all_files_of_the_docs_page_are_served_with_their_types(api: Api) -> None:
    page = api.client.get("/docs").text
    paths = re.findall(r'(?:src|href)="([^"]+)"', page)

    assert {path.removeprefix("/docs/") for path in paths} == docs_page.ASSETS.keys()
    for path in paths:
        answer = api.client.get(path)
        assert answer.status_code == 200
        assert answer.mimetype == docs_page.ASSETS[path.removeprefix("/docs/")]
        assert answer.content_length
        assert answer.cache_control.max_age
        cached_answer = api.client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert (cached_answer.status_code, cached_answer.data) == (304, b"")


@pytest.mark.parametrize("name", ["../auth.py", "..%2fflask_swagger_ui.py", "LICENSE", "swagger-ui.js", "%00"])
def test_other_files_of_the_swagger_ui_package_are_not_served(api: Api, name: str) -> None:
    answer = api.client.get(f"/docs/{name}")

    assert answer.status_code == 404
    assert answer.get_json().keys() == {"error"}


def test_the_document_contains_the_current_version() -> None:
    assert openapi.document()["info"]["version"] == VERSION
