"""Requests to /v1/prompts."""

from itertools import count
from typing import Any

from werkzeug.test import TestResponse

from tests.http.http_api import Api

TEMPLATE = {"instructions": "You are {{role}}.", "variables": {"role": {}}}
_numbers = count()


def post_prompt(api: Api, body: Any, path: str = "", *, key: str | None = None) -> TestResponse:
    """POST to `/v1/prompts`, or to a path below it that begins with a slash."""
    return api.send_request("POST", f"/v1/prompts{path}", json=body, key=key)


def create_prompt(api: Api, template: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Create a prompt with a unique name; return its document."""
    key = changes.pop("key", None)
    answer = post_prompt(api, {"name": f"p{next(_numbers)}", "template": template or TEMPLATE, **changes}, key=key)
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def get_prompt(api: Api, path: str, *, key: str | None = None, **query: Any) -> TestResponse:
    """GET a path below `/v1/prompts`; an empty path lists the prompts."""
    return api.send_request("GET", f"/v1/prompts{path}", key=key, query_string=query)


def count_prompt_rows(api: Api) -> list[tuple[Any, ...]]:
    return api.sql("select (select count(*) from prompts), (select count(*) from prompt_versions)")
