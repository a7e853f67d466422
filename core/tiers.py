"""Service tiers: what may be asked for, what it becomes, and how dispatch weighs it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from core import errors
from core.rights import Right


class Tier(StrEnum):
    """The tier a response runs in; `service_tier` of every response object."""

    NO_LIMIT = "no-limit"
    DEFAULT = "default"
    OVER_LIMIT = "over-limit"
    FLEX = "flex"


WEIGHTS: Mapping[Tier, int] = {Tier.NO_LIMIT: 8, Tier.DEFAULT: 4, Tier.OVER_LIMIT: 1, Tier.FLEX: 1}

# OpenAI's names for paid priority: the best tier the key may use.
PRIORITY_NAMES = frozenset({"priority", "scale", "fast", "ultrafast"})
NO_LIMIT_RIGHT = Right.NO_LIMIT.value
LANE = "default"  # of every tier to which backburner.toml gives no other
# The part of a lane's slots that `over-limit` leaves free, for those who are inside their limits.
RESERVE = 0.2


@dataclass(frozen=True)
class Wish:
    """The tier a request gets inside its project's limits, and whether it may go beyond them."""

    tier: Tier
    spills: bool = False


def wish(asked: str | None, rights: Collection[str]) -> Wish:
    """What a request wants, by the tier it asks for and its key's rights.

    Raises:
        errors.Forbidden: `no-limit` was asked with a key that does not have the right.
    """
    if asked == "flex":
        return Wish(Tier.FLEX)
    if asked == "no-limit" and NO_LIMIT_RIGHT not in rights:
        raise errors.Forbidden("This key may not use service_tier 'no-limit'.", param="service_tier")
    if asked == "no-limit" or (asked in PRIORITY_NAMES and NO_LIMIT_RIGHT in rights):
        return Wish(Tier.NO_LIMIT)
    return Wish(Tier.DEFAULT, spills=asked in {None, "auto"})
