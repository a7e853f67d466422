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
        "a create, where its project is limited",
        "how many a minute, and at once after a minute without any",
        _METERED,
    ),
    Told(
        "x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens",
        "the same, refusals and streams, too",
        "how many now, this create taken off",
        _METERED,
    ),
    Told(
        "x-ratelimit-reset-requests, x-ratelimit-reset-tokens",
        "the same",
        "when all of them are there again, as `20s`",
        _METERED,
    ),
    Told(
        "x-ratelimit-over-limit",
        "a create that was beyond the limit",
        "`yes`: its tier is `over-limit`",
        "test_auto_is_over_limit_while_there_is_capacity_to_spare_and_then_refused",
    ),
    Told(
        "Retry-After, retry-after-ms",
        "429 for want of credits, or of room in a queue",
        "whole seconds, at least 1, and milliseconds, until its credits are there; 5 s for a queue",
        "test_credits_come_back_with_time_as_it_was_told",
    ),
    Told(
        "x-should-retry",
        "429 for what never fits",
        "`false`",
        "test_what_never_fits_is_refused_for_good",
    ),
)
