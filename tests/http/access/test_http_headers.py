"""A request header that is empty, unreadable or repeated is rejected by name, and never treated as absent.

The values are those of Granian's WSGI environment: it replaces a value that is not ASCII by an empty one, and joins the
values of a repeated header with commas.
"""

import pytest

from tests.http.http_api import Api, check_error

UNREADABLE_VALUES = ["", " ", "é", "a,", ",a", "a,,b"]
UNREADABLE_MESSAGE = "The header {name} is empty or contains characters other than ASCII."


@pytest.mark.parametrize("value", UNREADABLE_VALUES)
@pytest.mark.parametrize("name", ["OpenAI-Project", "Idempotency-Key"])
def test_a_create_with_an_unreadable_header_is_rejected_by_name(worker_api: Api, name: str, value: str) -> None:
    row_counts = worker_api.count_rows()

    message = check_error(worker_api.post_response(headers={name: value}), 400, "invalid_value", name)

    assert message == UNREADABLE_MESSAGE.format(name=name)
    assert worker_api.count_rows() == row_counts


@pytest.mark.parametrize("value", UNREADABLE_VALUES)
@pytest.mark.parametrize("name", ["OpenAI-Project", "Prefer", "If-None-Match"])
def test_a_poll_with_an_unreadable_header_is_rejected_by_name(worker_api: Api, name: str, value: str) -> None:
    response_id = worker_api.create_response()["id"]

    message = check_error(worker_api.get_response(response_id, headers={name: value}), 400, "invalid_value", name)

    assert message == UNREADABLE_MESSAGE.format(name=name)


@pytest.mark.parametrize("value", ["a,b", "default,default", "a, b"])
@pytest.mark.parametrize("name", ["OpenAI-Project", "Idempotency-Key"])
def test_a_repeated_header_is_rejected_by_name(worker_api: Api, name: str, value: str) -> None:
    row_counts = worker_api.count_rows()

    message = check_error(worker_api.post_response(headers={name: value}), 400, "invalid_value", name)

    assert message == f"The header {name} must occur once and must not contain a comma."
    assert worker_api.count_rows() == row_counts
