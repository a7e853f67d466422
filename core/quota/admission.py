"""Admission: decides whether a create is accepted, and in which tier, before anything of it is stored.

Credits are taken in Redis before the transaction, so that no transaction is open during a network call. Counts in
Postgres are made inside the transaction.
"""

from dataclasses import dataclass, replace

from core import errors
from core.allowance import NOTHING, Allowance, Cost
from core.config.catalog import Catalog
from core.config.limits import UNLIMITED, Limits
from core.config.tiers import Tier
from core.database import Connection, Database
from core.dispatch.capacity_sql import Rules
from core.quota import admission_sql, estimates, ledger_sql
from core.quota.queue_depth import QueueDepth
from core.quota.tier_request import TierRequest
from core.quota.token_bucket import Credits, Taken, allowance_of
from core.tenants.keys import Caller
from core.wire.request import CreateResponse

# `Retry-After` in seconds if the wait cannot be predicted: for a full queue, and for spare capacity.
LOOK_AGAIN_S = 5.0


@dataclass(frozen=True)
class Reservation:
    """The result of the admission steps that precede the transaction of a create.

    Args:
        tier: the tier that the create gets within the limits.
        limits: the limits of the project for the model.
        cost: the credits that the create costs; `NOTHING` if its tier takes none.
        taken: whether the credits were taken in Redis.
        counted: whether the credits must be counted in Postgres, because Redis is unavailable.
        allowance: the remaining credits, if known.
        refusal: why the create cannot have this tier; it may still be admitted as `over-limit`.
    """

    tier: Tier
    limits: Limits = UNLIMITED
    cost: Cost = NOTHING
    taken: bool = False
    counted: bool = False
    allowance: Allowance | None = None
    refusal: errors.RateLimited | None = None


@dataclass(frozen=True)
class Admitted:
    """The tier of an admitted response, the credits it reserves, and the remaining credits if known."""

    tier: Tier
    reserved: Cost
    allowance: Allowance | None


class Admission:
    """Decides which creates are accepted, and in which tier."""

    def __init__(self, database: Database, catalog: Catalog, credits: Credits, rules: Rules) -> None:
        self._database = database
        self._catalog = catalog
        self._credits = credits
        self._rules = rules
        self._queue_depth = QueueDepth()

    def limits(self, caller: Caller) -> bool:
        """Whether the caller's project has limits for any model."""
        return self._catalog.limits.limited(caller.project)

    def ask(self, caller: Caller, request: CreateResponse, requested: TierRequest) -> Reservation:
        """Take the credits of a create, if its tier requires any.

        Credits that were taken must be used for a response or returned with `give_back`.

        Raises:
            errors.RateLimited: a limit is exceeded, and the request may not overflow. Nothing was taken.
            errors.StoreUnavailable: the usage of the last minute was needed, and Postgres is unavailable.
        """
        model = request.model or ""
        limits = self._catalog.limits.limits_for(caller.project, model)
        if requested.tier == Tier.NO_LIMIT or limits == UNLIMITED:
            return Reservation(requested.tier)
        grant = Reservation(requested.tier, limits)
        if limits.requests_per_minute is None and limits.tokens_per_minute is None:
            return grant
        if requested.tier == Tier.DEFAULT:
            most = limits.tokens_per_minute
            grant = replace(grant, cost=Cost(1, 0 if most is None else estimates.tokens(request, limit=most)))
        fits = limits.tokens_per_minute is None or grant.cost.tokens <= limits.tokens_per_minute
        taken = self._credits.take(
            caller.project_id,
            model,
            limits,
            grant.cost if fits else NOTHING,
            lately=lambda: self._lately(caller, model),
        )
        grant = replace(
            grant,
            allowance=None if taken is None else taken.allowance,
            taken=fits and taken is not None and taken.short_of is None and grant.cost != NOTHING,
            counted=fits and taken is None and grant.cost != NOTHING,
        )
        if not fits:
            grant = replace(grant, refusal=_too_large(grant, model, requested))
        elif taken is not None and taken.short_of is not None:
            grant = replace(grant, refusal=_reached(grant, model, taken))
        if grant.refusal is not None and not requested.may_overflow:
            raise grant.refusal
        return grant

    def _lately(self, caller: Caller, model: str) -> Cost:
        with self._database.connection() as connection:
            return ledger_sql.lately(connection, caller.project_id, model)

    def admit(
        self, connection: Connection, caller: Caller, model: str, grant: Reservation, requested: TierRequest
    ) -> Admitted:
        """Decide the tier of a response that this transaction is about to insert; idempotent.

        Raises:
            errors.RateLimited: the queue of the project is full, or a limit is exceeded and there is no spare capacity.
        """
        if grant.limits == UNLIMITED:
            return Admitted(grant.tier, NOTHING, None)
        self._check_queue(connection, caller, model, grant)
        if grant.counted:
            grant = self._count(connection, caller, model, grant)
        if grant.refusal is None:
            return Admitted(grant.tier, grant.cost, grant.allowance)
        if not requested.may_overflow or not self._spare(connection, model):
            raise grant.refusal
        over = replace(grant.allowance or Allowance(), over=True)
        return Admitted(Tier.OVER_LIMIT, NOTHING, over)

    def _check_queue(self, connection: Connection, caller: Caller, model: str, grant: Reservation) -> None:
        most = grant.limits.queued
        if most is None:
            return
        if self._queue_depth.full(connection, caller.project_id, model, most):
            raise errors.RateLimited(
                f"The queue of this project for '{model[:100]}' is full: {most} responses are waiting for a worker.",
                kind="requests",
                code="resource_unavailable",
                retry_after_s=LOOK_AGAIN_S,
                allowance=grant.allowance,
            )

    def _count(self, connection: Connection, caller: Caller, model: str, grant: Reservation) -> Reservation:
        """Admit by the credits taken in the last minute, one create at a time; used while Redis is unavailable."""
        admission_sql.lock(connection, f"credits:{caller.project_id}:{model}")
        limits, cost = grant.limits, grant.cost
        lately = ledger_sql.lately(connection, caller.project_id, model)
        requests = (limits.requests_per_minute or 0) - lately.requests
        tokens = (limits.tokens_per_minute or 0) - lately.tokens
        missing = Cost(
            max(0, cost.requests - requests) if limits.requests_per_minute else 0,
            max(0, cost.tokens - tokens) if limits.tokens_per_minute else 0,
        )
        if missing == NOTHING:
            return replace(
                grant, allowance=allowance_of(limits, requests - cost.requests, tokens - cost.tokens), counted=False
            )
        wait_s = ledger_sql.free_in_s(connection, caller.project_id, model, missing)
        short = Taken(allowance_of(limits, requests, tokens), wait_s, "requests" if missing.requests else "tokens")
        return replace(grant, allowance=short.allowance, refusal=_reached(grant, model, short))

    def _spare(self, connection: Connection, model: str) -> bool:
        """Whether there is spare capacity; if so, no other create takes it until the end of the transaction."""
        lane = self._catalog.lanes.lane_for(Tier.OVER_LIMIT)

        def look() -> bool:
            return admission_sql.spare(connection, self._rules, lane, model, self._catalog.get(model).concurrency)

        if not look():  # usually so under load: avoid the lock
            return False
        admission_sql.lock(connection, f"spare:{lane}")
        return look()

    def give_back(self, caller: Caller, model: str, grant: Reservation) -> None:
        """Return the credits of a create that stored no response.

        If it is unknown whether a response was stored, the project has that much extra credit for at most a minute.
        """
        if grant.taken:
            self._credits.give_back(caller.project_id, model, grant.limits, grant.cost)


def _reached(grant: Reservation, model: str, taken: Taken) -> errors.RateLimited:
    short = taken.short_of or "requests"
    limit, wanted = (
        (grant.limits.requests_per_minute, grant.cost.requests)
        if short == "requests"
        else (grant.limits.tokens_per_minute, grant.cost.tokens)
    )
    return errors.RateLimited(
        f"Rate limit reached for '{model[:100]}' on {short} per minute: the limit is {limit}, and this request"
        f" needs {wanted}. Try again in {max(0.001, taken.wait_s):.3f} s.",
        kind=short,
        retry_after_s=taken.wait_s,
        allowance=taken.allowance,
    )


def _too_large(grant: Reservation, model: str, requested: TierRequest) -> errors.RateLimited:
    return errors.RateLimited(
        f"The request is too large for '{model[:100]}' on tokens per minute: the limit is"
        f" {grant.limits.tokens_per_minute}, and input plus max_output_tokens is about {grant.cost.tokens}.",
        kind="tokens",
        # The request never fits the limit; only spare capacity can admit it later.
        retry_after_s=LOOK_AGAIN_S if requested.may_overflow else None,
        allowance=grant.allowance,
    )
