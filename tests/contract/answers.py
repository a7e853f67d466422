"""Headers that answers to creates carry."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Told:
    """A header of an answer."""

    name: str
    where: str
    says: str
    proof: str


_METERED = "test_default_stays_inside_the_limit_and_then_is_refused_with_nothing_stored"
TOLD = (
    Told(
        "x-ratelimit-limit-requests, x-ratelimit-limit-tokens",
        "a create, if its project is limited",
        "the limit per minute, which is also the burst after a minute without use",
        _METERED,
    ),
    Told(
        "x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens",
        "the same, including refusals and streams",
        "the rest, after this create",
        _METERED,
    ),
    Told(
        "x-ratelimit-reset-requests, x-ratelimit-reset-tokens",
        "the same",
        "the time until the bucket is full again, such as `20s`",
        _METERED,
    ),
    Told(
        "x-ratelimit-over-limit",
        "a create over the limit",
        "`yes`: its tier is `over-limit`",
        "test_auto_is_over_limit_while_there_is_capacity_to_spare_and_then_refused",
    ),
    Told(
        "Retry-After, retry-after-ms",
        "429 for lack of credits, or a full queue",
        "seconds, at least 1, and milliseconds until the credits are available; 5 s for a queue",
        "test_credits_come_back_with_time_as_it_was_told",
    ),
    Told(
        "x-should-retry",
        "429 for a create larger than the whole limit",
        "`false`",
        "test_what_never_fits_is_refused_for_good",
    ),
)
