"""The closed list of terminal error codes, and the HTTP error for each."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class ErrorType(StrEnum):
    """The `type` of an HTTP error."""

    INVALID_REQUEST = "invalid_request_error"
    PERMISSION = "permission_error"
    RATE_LIMIT = "rate_limit_error"
    SERVER = "server_error"


class Code(StrEnum):
    """The `error.code` of a failed response, as in `ResponseError` of the openai package."""

    BIO_POLICY = "bio_policy"
    DATA_RESIDENCY_MISMATCH = "data_residency_mismatch"
    EMPTY_IMAGE_FILE = "empty_image_file"
    FAILED_TO_DOWNLOAD_IMAGE = "failed_to_download_image"
    IMAGE_CONTENT_POLICY_VIOLATION = "image_content_policy_violation"
    IMAGE_FILE_NOT_FOUND = "image_file_not_found"
    IMAGE_FILE_TOO_LARGE = "image_file_too_large"
    IMAGE_PARSE_ERROR = "image_parse_error"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_TOO_SMALL = "image_too_small"
    INVALID_BASE64_IMAGE = "invalid_base64_image"
    INVALID_IMAGE = "invalid_image"
    INVALID_IMAGE_FORMAT = "invalid_image_format"
    INVALID_IMAGE_MODE = "invalid_image_mode"
    INVALID_IMAGE_URL = "invalid_image_url"
    INVALID_PROMPT = "invalid_prompt"
    MISALIGNMENT_POLICY_VIOLATION = "misalignment_policy_violation"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
    SERVER_ERROR = "server_error"
    UNSUPPORTED_IMAGE_MEDIA_TYPE = "unsupported_image_media_type"
    VECTOR_STORE_TIMEOUT = "vector_store_timeout"


class HttpError(NamedTuple):
    """The HTTP status and the error type of the answer to a foreground create request whose response fails."""

    status: int
    type: ErrorType


_REQUEST_ERROR = HttpError(400, ErrorType.INVALID_REQUEST)
# Codes of failures that the request did not cause.
_OTHER_ERRORS = {
    Code.RATE_LIMIT_EXCEEDED: HttpError(429, ErrorType.RATE_LIMIT),
    Code.SERVER_ERROR: HttpError(500, ErrorType.SERVER),
    Code.VECTOR_STORE_TIMEOUT: HttpError(500, ErrorType.SERVER),
}
# Codes of failures that the request caused.
_REQUEST_ERROR_CODES = (
    Code.BIO_POLICY,
    Code.DATA_RESIDENCY_MISMATCH,
    Code.EMPTY_IMAGE_FILE,
    Code.FAILED_TO_DOWNLOAD_IMAGE,
    Code.IMAGE_CONTENT_POLICY_VIOLATION,
    Code.IMAGE_FILE_NOT_FOUND,
    Code.IMAGE_FILE_TOO_LARGE,
    Code.IMAGE_PARSE_ERROR,
    Code.IMAGE_TOO_LARGE,
    Code.IMAGE_TOO_SMALL,
    Code.INVALID_BASE64_IMAGE,
    Code.INVALID_IMAGE,
    Code.INVALID_IMAGE_FORMAT,
    Code.INVALID_IMAGE_MODE,
    Code.INVALID_IMAGE_URL,
    Code.INVALID_PROMPT,
    Code.MISALIGNMENT_POLICY_VIOLATION,
    Code.UNSUPPORTED_IMAGE_MEDIA_TYPE,
)
HTTP_ERRORS: Mapping[Code, HttpError] = _OTHER_ERRORS | dict.fromkeys(_REQUEST_ERROR_CODES, _REQUEST_ERROR)
