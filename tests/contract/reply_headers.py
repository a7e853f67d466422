"""Headers of replies to create requests."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ResponseHeader:
    """A header of a reply.

    Args:
        occurrence: a description of the replies that have the header.
        value: a description of the value.
        proof: the name of the test of the header.
    """

    name: str
    occurrence: str
    value: str
    proof: str


_LIMIT_TEST = "test_a_default_request_over_the_limit_is_rejected_and_stores_nothing"
RESPONSE_HEADERS = (
    ResponseHeader(
        "x-ratelimit-limit-requests, x-ratelimit-limit-tokens",
        "to create requests of a project with limits, including errors and streams",
        "the limit per minute, which is also the burst after a minute without use",
        _LIMIT_TEST,
    ),
    ResponseHeader(
        "x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens",
        "to create requests of a project with limits, including errors and streams",
        "the credits that remain after this request",
        _LIMIT_TEST,
    ),
    ResponseHeader(
        "x-ratelimit-reset-requests, x-ratelimit-reset-tokens",
        "to create requests of a project with limits, including errors and streams",
        "the time until the bucket is full again, such as `20s`",
        _LIMIT_TEST,
    ),
    ResponseHeader(
        "x-ratelimit-over-limit",
        "to a create request over the limit",
        "`yes`: the tier of the response is `over-limit`",
        "test_an_auto_request_is_over_limit_while_there_is_spare_capacity",
    ),
    ResponseHeader(
        "Retry-After, retry-after-ms",
        "429 because of missing credits or a full queue",
        "seconds, at least 1, and milliseconds until the credits are available; 5 s for a full queue",
        "test_a_request_is_accepted_after_the_announced_delay",
    ),
    ResponseHeader(
        "x-should-retry",
        "429 for a create request that alone exceeds the limit",
        "`false`",
        "test_a_request_above_the_total_limit_is_rejected_permanently",
    ),
)
