"""Which tier a request may get, by the `service_tier` it names and its key's rights."""

from collections.abc import Collection
from dataclasses import dataclass

from core import errors
from core.config.tiers import Tier
from core.tenants.rights import Right

# OpenAI's names for paid priority: the best tier the key may use.
PRIORITY_NAMES = frozenset({"priority", "scale", "fast", "ultrafast"})
NO_LIMIT_RIGHT = Right.NO_LIMIT.value


@dataclass(frozen=True)
class TierRequest:
    """The tier a request gets inside its project's limits, and whether it may go beyond them."""

    tier: Tier
    may_overflow: bool = False


def requested(asked: str | None, rights: Collection[str]) -> TierRequest:
    """What a request wants, by the tier it asks for and its key's rights.

    Raises:
        errors.Forbidden: `no-limit` was asked with a key that does not have the right.
    """
    if asked == "flex":
        return TierRequest(Tier.FLEX)
    if asked == "no-limit" and NO_LIMIT_RIGHT not in rights:
        raise errors.Forbidden("This key may not use service_tier 'no-limit'.", param="service_tier")
    if asked == "no-limit" or (asked in PRIORITY_NAMES and NO_LIMIT_RIGHT in rights):
        return TierRequest(Tier.NO_LIMIT)
    return TierRequest(Tier.DEFAULT, may_overflow=asked in {None, "auto"})
