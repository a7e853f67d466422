"""Maps the `service_tier` of a request and the rights of its key to a tier."""

from collections.abc import Collection
from dataclasses import dataclass

from core import errors
from core.config.tiers import Tier
from core.tenants.rights import Right

# OpenAI's names of paid priority tiers. They select `no-limit` if the key has that right, and otherwise `default`.
PRIORITY_NAMES = frozenset({"priority", "scale", "fast", "ultrafast"})
NO_LIMIT_RIGHT = Right.NO_LIMIT.value


@dataclass(frozen=True)
class TierRequest:
    """The tier of a request within the project's limits, and whether it may be admitted as `over-limit` beyond them."""

    tier: Tier
    may_overflow: bool = False


def resolve_tier(service_tier: str | None, rights: Collection[str]) -> TierRequest:
    """Return the tier request for a `service_tier`.

    Args:
        service_tier: the `service_tier` of the request, if any.
        rights: the rights of the key.

    Raises:
        errors.Forbidden: `no-limit` was requested with a key that lacks the right.
    """
    if service_tier == "flex":
        return TierRequest(Tier.FLEX)
    if service_tier == "no-limit" and NO_LIMIT_RIGHT not in rights:
        raise errors.Forbidden("This key may not use service_tier 'no-limit'.", param="service_tier")
    if service_tier == "no-limit" or (service_tier in PRIORITY_NAMES and NO_LIMIT_RIGHT in rights):
        return TierRequest(Tier.NO_LIMIT)
    return TierRequest(Tier.DEFAULT, may_overflow=service_tier in {None, "auto"})
