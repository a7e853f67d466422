"""The endpoints of responses and models, with their replies and errors, and the errors of every endpoint."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """An error of an endpoint.

    Args:
        code: the error's `code`, which may be null.
        condition: a description of the condition for the error.
        proof: the name of the test of the error.
    """

    status: int
    code: str | None
    condition: str
    proof: str


@dataclass(frozen=True)
class Endpoint:
    """An endpoint with its reply to a valid request.

    Args:
        name: the method and the path.
        request: a description of the request.
        reply: a description of the reply.
        proof: the name of the test of the reply.
    """

    name: str
    request: str
    reply: str
    proof: str
    refusals: tuple[Refusal, ...] = ()


UNKNOWN_RESPONSE = Refusal(
    404,
    None,
    "no such response is stored in the key's project; `param` is `response_id`",
    "test_a_foreign_response_gets_the_same_answer_as_an_unknown_response",
)
INVALID_PAGE_QUERY = (
    Refusal(400, "invalid_value", "invalid `limit`, `order` or `after`", "test_an_invalid_query_of_a_list_is_rejected"),
)
UNKNOWN_INCLUDE = Refusal(
    400,
    "invalid_value",
    "unknown value of `include`",
    "test_an_unknown_include_value_is_rejected_and_values_for_output_have_no_effect",
)

COMMON_REFUSALS = (
    Refusal(
        401, "invalid_api_key", "no key, or an invalid key", "test_every_route_under_v1_rejects_requests_without_a_key"
    ),
    Refusal(
        403,
        "permission_denied",
        "the key lacks the required right ([security.md](security.md)); type `permission_error`",
        "test_a_key_without_the_required_right_is_rejected_with_the_name_of_the_right",
    ),
    Refusal(
        404,
        "project_not_found",
        "`ai_project_id` or `OpenAI-Project` names a project that does not exist or that the key may not use",
        "test_a_forbidden_project_gets_the_same_answer_as_an_unknown_project",
    ),
    Refusal(
        400,
        "invalid_value",
        "`ai_project_id` and `OpenAI-Project` name different projects",
        "test_a_request_with_two_projects_is_rejected_with_the_parameter",
    ),
    Refusal(
        400,
        "invalid_value",
        "a header of the table below is empty, not ASCII, or repeated (only headers with lists can be repeated)",
        "test_a_poll_with_an_unreadable_header_is_rejected_by_name",
    ),
    Refusal(
        400,
        "invalid_value",
        "a query parameter is repeated with another value (only `include` can have several)",
        "test_an_invalid_filter_is_rejected",
    ),
    Refusal(404, None, "unknown path", "test_a_request_for_an_unknown_path_gets_404_in_the_error_format"),
    Refusal(405, None, "method not allowed", "test_a_request_with_another_method_gets_405_with_the_allowed_methods"),
    Refusal(
        500,
        None,
        "a bug in the server; type `server_error`",
        "test_an_unexpected_error_is_answered_with_500_and_details_appear_only_in_the_log",
    ),
    Refusal(
        503,
        "store_unavailable",
        "Postgres is unavailable; type `server_error`, with `Retry-After`",
        "test_without_postgres_every_request_under_v1_gets_503_with_retry_after",
    ),
)

ENDPOINTS = (
    Endpoint(
        "POST /v1/responses",
        "JSON with the parameters below",
        "the response: `queued` in the background, otherwise ended",
        "test_a_new_response_is_queued_and_contains_the_defaults",
        (
            Refusal(400, "invalid_value", "invalid JSON", "test_invalid_json_is_rejected_and_nothing_is_stored"),
            Refusal(400, "invalid_type", "not a JSON object", "test_json_that_is_not_an_object_is_rejected"),
            Refusal(
                400,
                "invalid_value",
                "an object in the body contains a name twice",
                "test_a_body_with_a_repeated_name_is_rejected",
            ),
            Refusal(
                400,
                "unknown_parameter",
                "the name of a parameter is empty or not printable",
                "test_a_parameter_with_an_empty_or_unprintable_name_is_rejected",
            ),
            Refusal(
                400,
                "invalid_value",
                "the body has more than about 240 levels of nesting",
                "test_a_body_nested_too_deeply_to_serialize_is_rejected",
            ),
            Refusal(
                400,
                "invalid_value",
                "a content type other than JSON, or a content encoding other than `gzip`",
                "test_an_unsupported_content_encoding_is_rejected_by_name",
            ),
            Refusal(
                400,
                "unknown_parameter",
                "a parameter unknown to the API, if `BACKBURNER_STRICT_PARAMS` is on; otherwise it is ignored",
                "test_a_server_with_strict_parameters_rejects_unknown_parameters",
            ),
            Refusal(
                400,
                "previous_response_not_completed",
                "the response in `previous_response_id` has not ended",
                "test_a_parent_that_has_not_ended_is_rejected",
            ),
            Refusal(
                400,
                "idempotency_key_reuse",
                "the idempotency key was used with a different body",
                "test_a_key_with_a_different_body_is_rejected",
            ),
            Refusal(
                403,
                "permission_denied",
                "the tier `no-limit` without the right to use it; type `permission_error`",
                "test_the_tier_no_limit_requires_the_right",
            ),
            Refusal(
                404,
                None,
                "the response created with this Idempotency-Key was deleted",
                "test_a_repeated_request_after_the_deletion_of_its_response_gets_404",
            ),
            *(
                Refusal(429, code, f"{condition}; type `{kind}`", proof)
                for code, kind, condition, proof in (
                    (
                        "rate_limit_exceeded",
                        "requests",
                        "over the project's requests per minute",
                        "test_a_default_request_over_the_limit_is_rejected_and_stores_nothing",
                    ),
                    (
                        "rate_limit_exceeded",
                        "tokens",
                        "over the project's tokens per minute, estimated from input and `max_output_tokens`",
                        "test_the_estimated_tokens_of_a_request_are_reserved",
                    ),
                    (
                        "rate_limit_exceeded",
                        "tokens",
                        "the request alone exceeds the limit; with `x-should-retry: false`",
                        "test_a_request_above_the_total_limit_is_rejected_permanently",
                    ),
                    (
                        "resource_unavailable",
                        "requests",
                        "the project's queue for the model is full",
                        "test_a_flex_request_takes_no_credits_and_is_rejected_only_by_a_full_queue",
                    ),
                )
            ),
            Refusal(
                413,
                "request_too_large",
                "a body over `BACKBURNER_BODY_LIMIT_BYTES`, compressed or decompressed",
                "test_only_a_body_above_the_size_limit_is_rejected",
            ),
            *(
                Refusal(
                    status,
                    code,
                    f"in the foreground: {condition} within 3 s",
                    "test_a_failure_before_the_first_byte_is_an_http_error",
                )
                for status, code, condition in (
                    (400, "invalid_prompt", "the model server refused the prompt, or a file could not be read"),
                    (400, "failed_to_download_image", "an image could not be downloaded (this or another image code)"),
                    (429, "rate_limit_exceeded", "the model server remained at capacity"),
                    (500, "server_error", "the response failed"),
                )
            ),
            Refusal(
                503,
                "server_busy",
                "in the foreground: too many requests are waiting; with `Retry-After`",
                "test_a_foreground_request_without_a_free_wait_slot_gets_503",
            ),
            Refusal(
                503,
                "server_busy",
                "a body of 1 MB or more could not be stored within 30 s, because other large bodies were being stored; with `Retry-After`",
                "test_a_large_body_without_capacity_in_time_gets_503",
            ),
        ),
    ),
    Endpoint(
        "GET /v1/responses/{id}",
        "`include[]`, `stream`, `starting_after`, `include_obfuscation`, `wait_reason`; `Prefer: wait`, `If-None-Match`",
        "the response; with `stream=true` its events, as they are written",
        "test_a_response_has_every_key_and_the_right_values_at_every_status",
        (
            UNKNOWN_RESPONSE,
            UNKNOWN_INCLUDE,
            Refusal(
                400,
                "invalid_value",
                "`stream` or `wait_reason` is neither true nor false, or `starting_after` is not an integer",
                "test_an_invalid_query_is_rejected_and_an_unknown_parameter_is_ignored",
            ),
            Refusal(
                400,
                "invalid_request_error",
                "`stream` for a response that was not created with `background`",
                "test_an_ended_foreground_response_cannot_be_streamed",
            ),
        ),
    ),
    Endpoint(
        "DELETE /v1/responses/{id}",
        "",
        "`{id, object, deleted}`",
        "test_the_deletion_of_a_response_deletes_all_of_its_rows",
        (
            UNKNOWN_RESPONSE,
            Refusal(
                400,
                "invalid_value",
                "the response has not ended",
                "test_a_response_that_has_not_ended_cannot_be_deleted",
            ),
        ),
    ),
    Endpoint(
        "POST /v1/responses/{id}/cancel",
        "the body is ignored",
        "the response: `cancelled`, or unchanged if it had already ended",
        "test_a_cancel_request_after_the_end_gets_200_and_changes_nothing",
        (
            UNKNOWN_RESPONSE,
            Refusal(
                400,
                "invalid_value",
                "the response is not a background response",
                "test_a_foreground_response_cannot_be_cancelled_by_its_id",
            ),
        ),
    ),
    Endpoint(
        "GET /v1/responses/{id}/input_items",
        "`limit`, `order`, `after`, `include[]`",
        "a list of the items of the context and of the response's own input; a page ends with the item that makes it exceed 32 MB",
        "test_the_pages_of_a_list_contain_all_items",
        (UNKNOWN_RESPONSE, UNKNOWN_INCLUDE, *INVALID_PAGE_QUERY),
    ),
    Endpoint(
        "GET /v1/responses",
        "`limit`, `order`, `after`, `status`, `model`, `metadata[key]`; not part of OpenAI's API",
        "a list of the project's stored responses, newest first; a page ends with the response that makes it exceed 32 MB",
        "test_a_list_contains_the_documents_newest_first",
        (
            *INVALID_PAGE_QUERY,
            Refusal(
                400,
                "invalid_value",
                "invalid `status`, `model` or `metadata`",
                "test_an_invalid_filter_is_rejected",
            ),
        ),
    ),
    Endpoint(
        "GET /v1/models",
        "",
        "a list of the configured models",
        "test_models_are_listed_and_found_by_names_with_slashes",
    ),
    Endpoint(
        "GET /v1/models/{id}",
        "",
        "the model",
        "test_models_are_listed_and_found_by_names_with_slashes",
        (Refusal(404, "model_not_found", "unknown model", "test_a_request_for_an_unknown_model_gets_404"),),
    ),
)
