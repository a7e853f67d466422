"""The headers and query parameters of requests, and two headers of replies."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RequestOption:
    """A header or a query parameter.

    Args:
        location: `header` or `query`, and a description of the requests or replies that may have the option.
        values: a description of the accepted values.
        proof: the name of the test of the effect.
    """

    name: str
    location: str
    values: str
    effect: str
    proof: str


REQUEST_OPTIONS = (
    RequestOption(
        "Authorization",
        "header",
        "`Bearer <key>`",
        "determines the project and the rights",
        "test_a_valid_key_is_accepted_with_any_spelling_of_its_scheme",
    ),
    RequestOption(
        "ai_project_id, OpenAI-Project",
        "query, header",
        "the ID or name of a project that the key may use; an empty `ai_project_id` is ignored",
        "selects the project; default: the key's own",
        "test_a_request_acts_in_the_project_that_its_query_or_header_designates",
    ),
    RequestOption(
        "Idempotency-Key",
        "header of create requests",
        "1 to 255 printable ASCII characters except commas",
        "for 24 hours, the same body with the same key returns the same response",
        "test_a_repeated_request_returns_the_existing_response",
    ),
    RequestOption(
        "Prefer",
        "header of polls",
        "`wait=<seconds>`, at most 60; any other value is ignored",
        "the server waits for the end of the response, at most for this time",
        "test_a_waiting_poll_is_answered_when_the_response_ends",
    ),
    RequestOption(
        "wait_reason",
        "query of polls",
        "`true` or `false` (default)",
        "while the response is queued, its object has the field `wait_reason`: `starting`, `turn`, `project_limit`, "
        "`model_capacity`, `model_unavailable`, `capacity`, `no_worker` or `retry` ([dispatch.md](dispatch.md)); it may "
        "be a second old",
        "test_a_poll_with_the_option_returns_why_the_response_is_queued",
    ),
    RequestOption(
        "If-None-Match",
        "header of polls",
        "an `ETag`; any other value is ignored",
        "304 without a body if the response has not changed",
        "test_a_poll_of_an_unchanged_response_gets_304_without_a_body",
    ),
    RequestOption(
        "limit",
        "query of lists",
        "1 to 100, default 20",
        "maximum number of objects",
        "test_the_pages_of_a_list_contain_all_responses_with_the_same_creation_time",
    ),
    RequestOption(
        "order",
        "query of lists",
        "`asc` or `desc` (default)",
        "order by creation time",
        "test_a_list_contains_the_documents_newest_first",
    ),
    RequestOption(
        "after",
        "query of lists",
        "the ID of an object in the list",
        "starts after this object",
        "test_the_pages_of_a_list_contain_all_items",
    ),
    RequestOption(
        "status",
        "query of lists of responses",
        "a status",
        "only responses with this status",
        "test_a_list_can_be_filtered_by_status_model_and_metadata",
    ),
    RequestOption(
        "model",
        "query of lists of responses",
        "a name",
        "only responses of this model",
        "test_a_list_can_be_filtered_by_status_model_and_metadata",
    ),
    RequestOption(
        "metadata[key]",
        "query of lists of responses",
        "a value; several keys may be given, each once",
        "only responses with all of these pairs",
        "test_a_list_can_be_filtered_by_status_model_and_metadata",
    ),
    RequestOption(
        "include, include[]",
        "query of polls and input items",
        "the values of `include` below",
        "input items contain data URLs of images only with `message.input_image.image_url`, and data URLs of "
        "screenshots only with `computer_call_output.output.image_url`, otherwise null; everything else depends on "
        "`include` of the create request",
        "test_data_urls_of_images_are_listed_only_on_request",
    ),
    RequestOption(
        "x-request-id",
        "header of every reply",
        "",
        "identifies the request in the server's log",
        "test_every_answer_has_a_unique_request_id",
    ),
    RequestOption(
        "openai-poll-after-ms",
        "header of replies to polls",
        "",
        "the recommended delay until the next poll; present until the response has ended",
        "test_a_response_has_every_key_and_the_right_values_at_every_status",
    ),
)
