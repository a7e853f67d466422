"""The endpoints with their replies and errors, and the headers and query parameters of requests."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """An error of an endpoint.

    Args:
        code: the error's `code`, which may be null.
        condition: a description of the cause.
        proof: the name of its test.
    """

    status: int
    code: str | None
    condition: str
    proof: str


@dataclass(frozen=True)
class Endpoint:
    """An endpoint with its reply to a valid request.

    Args:
        name: its method and path.
        request: a description of the request.
        reply: a description of the reply.
        proof: the name of its test.
    """

    name: str
    request: str
    reply: str
    proof: str
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True)
class RequestOption:
    """A header or a query parameter.

    Args:
        location: the requests or replies that may have it, and whether it is a header or in the query.
        values: a description of the accepted values.
        proof: the name of its test.
    """

    name: str
    location: str
    values: str
    effect: str
    proof: str


UNKNOWN_RESPONSE = Refusal(
    404,
    None,
    "no such response is stored in the key's project; `param` is `response_id`",
    "test_another_projects_response_is_exactly_as_unknown_as_one_that_never_was",
)
WRONG_PAGE = (
    Refusal(400, "invalid_value", "wrong `limit`, `order` or `after`", "test_a_wrong_query_of_a_list_is_refused"),
)
UNKNOWN_INCLUDE = Refusal(
    400, "invalid_value", "unknown `include`", "test_an_unknown_include_is_refused_and_a_known_one_changes_nothing"
)

EVERYWHERE = (
    Refusal(401, "invalid_api_key", "no key, or an invalid one", "test_every_route_under_v1_refuses_without_a_key"),
    Refusal(
        403,
        "permission_denied",
        "the key lacks the right ([security.md](security.md)); type `permission_error`",
        "test_a_key_without_the_right_for_a_route_is_told_which_and_changes_nothing",
    ),
    Refusal(
        404,
        "project_not_found",
        "`ai_project_id` or `OpenAI-Project` names a project that does not exist or that the key may not use",
        "test_a_project_that_the_key_may_not_use_is_exactly_as_unknown_as_one_that_never_was",
    ),
    Refusal(
        400,
        "invalid_value",
        "`ai_project_id` and `OpenAI-Project` name different projects",
        "test_two_projects_at_once_are_refused_by_the_name_of_the_parameter",
    ),
    Refusal(404, None, "unknown path", "test_a_path_that_leads_nowhere_is_404_in_the_envelope"),
    Refusal(405, None, "method not allowed", "test_a_method_that_is_not_allowed_is_405_and_says_which_are"),
    Refusal(
        500,
        None,
        "a bug; type `server_error`",
        "test_a_bug_is_a_500_that_tells_the_client_nothing_and_the_log_all",
    ),
    Refusal(
        503,
        "store_unavailable",
        "Postgres is unavailable; type `server_error`, with `Retry-After`",
        "test_without_postgres_everything_says_503_and_when_to_come_back_and_names_no_host",
    ),
)

ENDPOINTS = (
    Endpoint(
        "POST /v1/responses",
        "JSON with the parameters below",
        "the response: `queued` in the background, otherwise ended",
        "test_a_create_answers_queued_even_with_free_workers_and_states_the_defaults",
        (
            Refusal(400, "invalid_value", "not JSON", "test_what_is_not_json_is_refused_and_nothing_is_stored"),
            Refusal(400, "invalid_type", "not a JSON object", "test_json_that_is_no_object_is_refused"),
            Refusal(
                400,
                "invalid_value",
                "nested more than about 240 levels deep",
                "test_what_is_nested_too_deeply_to_be_written_again_is_refused",
            ),
            Refusal(
                400,
                "invalid_value",
                "a content type other than JSON, or a content encoding other than `gzip`",
                "test_a_compressed_body_is_refused_by_the_name_of_its_encoding",
            ),
            Refusal(
                400,
                "unknown_parameter",
                "a parameter unknown to the API, if `BACKBURNER_STRICT_PARAMS` is on; otherwise it is ignored",
                "test_a_server_with_strict_parameters_refuses_what_the_api_does_not_have",
            ),
            Refusal(
                400,
                "previous_response_not_completed",
                "the parent has not ended",
                "test_a_parent_that_has_not_ended_is_refused",
            ),
            Refusal(
                400,
                "idempotency_key_reuse",
                "the key was used with a different body",
                "test_a_key_that_is_used_for_another_body_is_refused",
            ),
            Refusal(
                403,
                "permission_denied",
                "`no-limit` without the right; type `permission_error`",
                "test_no_limit_is_for_keys_with_the_right_and_403_for_others",
            ),
            Refusal(
                404,
                None,
                "the response created with this Idempotency-Key was deleted",
                "test_a_key_whose_response_was_deleted_says_so_rather_than_make_another",
            ),
            *(
                Refusal(429, code, f"{condition}; type `{kind}`", proof)
                for code, kind, condition, proof in (
                    (
                        "rate_limit_exceeded",
                        "requests",
                        "over the project's requests per minute",
                        "test_default_stays_inside_the_limit_and_then_is_refused_with_nothing_stored",
                    ),
                    (
                        "rate_limit_exceeded",
                        "tokens",
                        "over the project's tokens per minute, estimated from input and `max_output_tokens`",
                        "test_tokens_are_reserved_by_estimate",
                    ),
                    (
                        "rate_limit_exceeded",
                        "tokens",
                        "a request larger than the limit; with `x-should-retry: false`",
                        "test_what_never_fits_is_refused_for_good",
                    ),
                    (
                        "resource_unavailable",
                        "requests",
                        "the project's queue for the model is full",
                        "test_flex_takes_no_credits_and_is_refused_only_by_a_full_queue",
                    ),
                )
            ),
            Refusal(
                413,
                "request_too_large",
                "a body over `BACKBURNER_BODY_LIMIT_BYTES`, compressed or decompressed",
                "test_a_body_over_the_limit_is_refused_and_one_that_just_fits_is_not",
            ),
            *(
                Refusal(
                    status,
                    code,
                    f"in the foreground: {condition} within 3 s",
                    "test_a_foreground_response_that_fails_before_its_answer_began_is_an_http_error",
                )
                for status, code, condition in (
                    (400, "invalid_prompt", "the model server refused the prompt, or a file could not be read"),
                    (400, "failed_to_download_image", "an image could not be fetched (this or another image code)"),
                    (429, "rate_limit_exceeded", "the model server stayed at capacity"),
                    (500, "server_error", "the response failed"),
                )
            ),
            Refusal(
                503,
                "server_busy",
                "in the foreground: too many requests are waiting; with `Retry-After`",
                "test_when_all_places_to_wait_in_are_taken_a_foreground_create_is_told_to_come_back",
            ),
        ),
    ),
    Endpoint(
        "GET /v1/responses/{id}",
        "`include[]`, `stream`, `starting_after`, `include_obfuscation`; `Prefer: wait`, `If-None-Match`",
        "the response; with `stream=true` its events, as they are written",
        "test_a_response_has_every_key_and_the_right_values_at_every_status",
        (
            UNKNOWN_RESPONSE,
            UNKNOWN_INCLUDE,
            Refusal(
                400,
                "invalid_value",
                "`stream` is neither true nor false, or `starting_after` is not an integer",
                "test_a_query_that_makes_no_sense_is_refused_and_one_that_changes_nothing_is_not",
            ),
            Refusal(
                400,
                "invalid_request_error",
                "a stream of a response that was not created with `background`",
                "test_a_stream_of_another_project_and_of_an_unknown_id_return_the_same_error",
            ),
        ),
    ),
    Endpoint(
        "DELETE /v1/responses/{id}",
        "",
        "`{id, object, deleted}`",
        "test_a_deleted_response_is_gone_with_all_that_hangs_on_it",
        (
            UNKNOWN_RESPONSE,
            Refusal(400, "invalid_value", "it has not ended", "test_a_response_that_has_not_ended_is_not_deleted"),
        ),
    ),
    Endpoint(
        "POST /v1/responses/{id}/cancel",
        "the body is ignored",
        "the response, `cancelled`, or unchanged if it had ended",
        "test_a_cancel_of_what_has_ended_answers_200_and_changes_nothing_however_often",
        (
            UNKNOWN_RESPONSE,
            Refusal(
                400,
                "invalid_value",
                "it is not a background response",
                "test_a_foreground_response_is_not_cancelled_by_its_id",
            ),
        ),
    ),
    Endpoint(
        "GET /v1/responses/{id}/input_items",
        "`limit`, `order`, `after`, `include[]`",
        "a list: the context the response was created with, then its own input; a page over 32 MB ends early",
        "test_pages_of_items_add_up_to_all_of_them",
        (UNKNOWN_RESPONSE, UNKNOWN_INCLUDE, *WRONG_PAGE),
    ),
    Endpoint(
        "GET /v1/responses",
        "`limit`, `order`, `after`, `status`, `model`, `metadata[key]`; OpenAI has no such list",
        "a list of the project's stored responses, newest first",
        "test_a_list_has_what_polls_would_say_newest_first",
        (
            *WRONG_PAGE,
            Refusal(
                400,
                "invalid_value",
                "wrong `status`, `model` or `metadata`",
                "test_a_wrong_filter_is_refused_rather_than_left_out",
            ),
        ),
    ),
    Endpoint(
        "GET /v1/models",
        "",
        "a list of the configured models",
        "test_models_are_listed_and_found_by_name_slashes_and_all",
    ),
    Endpoint(
        "GET /v1/models/{id}",
        "",
        "the model",
        "test_models_are_listed_and_found_by_name_slashes_and_all",
        (Refusal(404, "model_not_found", "unknown model", "test_a_model_that_is_not_there_is_404"),),
    ),
)

REQUEST_OPTIONS = (
    RequestOption(
        "Authorization",
        "header",
        "`Bearer <key>`",
        "determines the project and the rights",
        "test_a_good_key_is_known_however_its_scheme_is_written",
    ),
    RequestOption(
        "ai_project_id, OpenAI-Project",
        "query, header",
        "the ID or name of a project that the key may use; an empty value is ignored",
        "selects the project; default: the key's own",
        "test_a_key_speaks_for_the_project_that_is_named_by_id_or_name_in_query_or_header",
    ),
    RequestOption(
        "Idempotency-Key",
        "header of create requests",
        "1 to 255 printable characters",
        "for 24 hours, the same body with the same key returns the same response",
        "test_a_create_that_is_repeated_answers_with_the_response_it_made",
    ),
    RequestOption(
        "Prefer",
        "header of polls",
        "`wait=<seconds>`, at most 60; any other value is ignored",
        "waits for the end of the response, at most this long",
        "test_a_poll_that_would_rather_wait_is_answered_as_soon_as_the_response_has_ended",
    ),
    RequestOption(
        "If-None-Match",
        "header of polls",
        "an `ETag`; any other value is ignored",
        "304 without a body if nothing changed",
        "test_a_poll_of_what_did_not_change_is_304_without_a_body",
    ),
    RequestOption(
        "limit",
        "query of lists",
        "1 to 100, default 20",
        "maximum number of objects",
        "test_pages_add_up_to_all_even_of_responses_of_the_same_instant",
    ),
    RequestOption(
        "order",
        "query of lists",
        "`asc` or `desc` (default)",
        "order by creation time",
        "test_a_list_has_what_polls_would_say_newest_first",
    ),
    RequestOption(
        "after", "query of lists", "an ID of the list", "starts after it", "test_pages_of_items_add_up_to_all_of_them"
    ),
    RequestOption(
        "status",
        "query of responses",
        "a status",
        "only responses with this status",
        "test_a_list_may_be_asked_for_by_status_model_and_metadata",
    ),
    RequestOption(
        "model",
        "query of responses",
        "a name",
        "only responses of this model",
        "test_a_list_may_be_asked_for_by_status_model_and_metadata",
    ),
    RequestOption(
        "metadata[key]",
        "query of responses",
        "a value; may be repeated",
        "only responses with all of the pairs",
        "test_a_list_may_be_asked_for_by_status_model_and_metadata",
    ),
    RequestOption(
        "include, include[]",
        "query of polls and input items",
        "the values of `include` below",
        "input items contain data URLs of images only with `message.input_image.image_url`, and those of screenshots "
        "only with `computer_call_output.output.image_url`, otherwise null; all other contents depend on `include` of "
        "the create request",
        "test_items_list_images_in_data_urls_only_where_they_are_asked_for",
    ),
    RequestOption(
        "x-request-id",
        "header of every reply",
        "",
        "identifies the request in the server's log",
        "test_every_answer_has_a_request_id_of_its_own",
    ),
    RequestOption(
        "openai-poll-after-ms",
        "header of polls",
        "",
        "present until the response has ended",
        "test_a_response_has_every_key_and_the_right_values_at_every_status",
    ),
)
