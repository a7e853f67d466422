"""The complete list of error codes that an ended response can have."""

from typing import get_args

from openai.types.responses import ResponseError

from core.codes import HTTP_ERRORS, Code


def test_the_terminal_codes_equal_the_codes_of_the_official_client() -> None:
    assert set(Code) == set(get_args(ResponseError.model_fields["code"].annotation))


def test_every_terminal_code_has_a_status_and_a_type() -> None:
    assert set(HTTP_ERRORS) == set(Code)
    assert all(400 <= error.status < 600 for error in HTTP_ERRORS.values())
