"""Admission: decides whether a create request is accepted, and in which tier, before its response is stored.

Credits are taken in Redis before the transaction, so that no transaction is open during a network call. Responses in
Postgres are counted inside the transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from core import errors
from core.allowance import NO_COST, Allowance, Cost
from core.config.catalog import Catalog
from core.config.limits import UNLIMITED, Limits
from core.config.tiers import Tier
from core.database import Connection, Database
from core.dispatch.situation import Rules
from core.quota import admission_sql, estimates, ledger_sql
from core.quota.queue_depth import QueueDepth
from core.quota.tier_request import TierRequest
from core.quota.token_bucket import Credits, TakeResult, build_allowance
from core.tenants.keys import Caller
from core.wire.request import CreateResponse

# Value of `Retry-After` if the wait cannot be predicted: if the queue is full, or if the request needs spare capacity.
DEFAULT_RETRY_AFTER_S = 5.0


@dataclass(frozen=True)
class Reservation:
    """The result of the admission steps before the transaction of a create request.

    Args:
        tier: the tier of the response, unless it is admitted as `over-limit`.
        limits: the limits of the project for the model.
        cost: the credits that the request costs; `NO_COST` if its tier requires no credits.
        has_credits: whether credits were taken in Redis.
        needs_count: whether the credits must be counted in Postgres, because Redis is unavailable.
        allowance: the remaining credits, if known.
        refusal: the error if the request cannot have this tier; it may still be admitted as `over-limit`.
    """

    tier: Tier
    limits: Limits = UNLIMITED
    cost: Cost = NO_COST
    has_credits: bool = False
    needs_count: bool = False
    allowance: Allowance | None = None
    refusal: errors.RateLimitExceeded | None = None


@dataclass(frozen=True)
class AdmissionResult:
    """The tier of an admitted response, its reserved credits, and the remaining credits if known."""

    tier: Tier
    reserved: Cost
    allowance: Allowance | None


class Admission:
    """Decides which create requests are accepted, and in which tier.

    All decisions about one request must get the same catalog.

    Args:
        rules_for: returns the rules of dispatch of a catalog.
    """

    def __init__(self, database: Database, credits: Credits, rules_for: Callable[[Catalog], Rules]) -> None:
        self._database = database
        self._credits = credits
        self._rules_for = rules_for
        self._queue_depth = QueueDepth()

    def reserve(
        self, catalog: Catalog, caller: Caller, request: CreateResponse, requested_tier: TierRequest
    ) -> Reservation:
        """Take the credits of a create request, if its tier requires any.

        The credits must be used for a response or returned with `give_back`.

        Raises:
            errors.RateLimitExceeded: a limit is exceeded, and the request may not overflow. No credits were taken.
            errors.StoreUnavailable: the usage of the last minute was needed, and Postgres is unavailable.
        """
        model = request.model or ""
        limits = catalog.limits.limits_for(caller.project, model)
        if requested_tier.tier == Tier.NO_LIMIT or limits == UNLIMITED:
            return Reservation(requested_tier.tier)
        token_limit = limits.tokens_per_minute
        if limits.requests_per_minute is None and token_limit is None:
            return Reservation(requested_tier.tier, limits)
        cost = _estimate_cost(request, requested_tier, token_limit)
        reservation = Reservation(requested_tier.tier, limits, cost)
        can_fit = token_limit is None or cost.tokens <= token_limit
        # A request that never fits takes no credits, but its error contains the remaining credits.
        charge = cost if can_fit else NO_COST
        result = self._credits.take(
            caller.project_id, model, limits, charge, recent_cost=lambda: self._recent_cost(caller, model)
        )
        needs_credits = can_fit and cost != NO_COST
        reservation = replace(
            reservation,
            allowance=None if result is None else result.allowance,
            has_credits=needs_credits and result is not None and result.exhausted_limit is None,
            needs_count=needs_credits and result is None,
        )
        if not can_fit:
            reservation = replace(reservation, refusal=_size_error(reservation, model, requested_tier))
        elif result is not None and result.exhausted_limit is not None:
            reservation = replace(reservation, refusal=_limit_error(reservation, model, result))
        if reservation.refusal is not None and not requested_tier.may_overflow:
            raise reservation.refusal
        return reservation

    def _recent_cost(self, caller: Caller, model: str) -> Cost:
        with self._database.connection() as connection:
            return ledger_sql.recent_cost(connection, caller.project_id, model)

    def admit(
        self,
        connection: Connection,
        catalog: Catalog,
        caller: Caller,
        model: str,
        reservation: Reservation,
        requested_tier: TierRequest,
    ) -> AdmissionResult:
        """Decide the tier of a response that this transaction is about to insert; idempotent.

        Raises:
            errors.RateLimitExceeded: the queue of the project is full, or a limit is exceeded and no capacity is free.
        """
        if reservation.limits == UNLIMITED:
            return AdmissionResult(reservation.tier, NO_COST, None)
        self._check_queue(connection, caller, model, reservation)
        if reservation.needs_count:
            reservation = self._count_credits(connection, caller, model, reservation)
        if reservation.refusal is None:
            return AdmissionResult(reservation.tier, reservation.cost, reservation.allowance)
        if not requested_tier.may_overflow or not self._has_spare_capacity(connection, catalog, model):
            raise reservation.refusal
        allowance = replace(reservation.allowance or Allowance(), over_limit=True)
        return AdmissionResult(Tier.OVER_LIMIT, NO_COST, allowance)

    def _check_queue(self, connection: Connection, caller: Caller, model: str, reservation: Reservation) -> None:
        limit = reservation.limits.queued
        if limit is None:
            return
        if self._queue_depth.is_full(connection, caller.project_id, model, limit):
            raise errors.RateLimitExceeded(
                f"The queue of this project for '{model[:100]}' is full: {limit} responses are waiting for a worker.",
                kind="requests",
                code="resource_unavailable",
                retry_after_s=DEFAULT_RETRY_AFTER_S,
                allowance=reservation.allowance,
            )

    def _count_credits(
        self, connection: Connection, caller: Caller, model: str, reservation: Reservation
    ) -> Reservation:
        """While Redis is unavailable, reserve credits under a lock by counting the credits taken in the last minute."""
        admission_sql.lock(connection, f"credits:{caller.project_id}:{model}")
        limits, cost = reservation.limits, reservation.cost
        recent_cost = ledger_sql.recent_cost(connection, caller.project_id, model)
        remaining_requests = (limits.requests_per_minute or 0) - recent_cost.requests
        remaining_tokens = (limits.tokens_per_minute or 0) - recent_cost.tokens
        shortfall = Cost(
            max(0, cost.requests - remaining_requests) if limits.requests_per_minute else 0,
            max(0, cost.tokens - remaining_tokens) if limits.tokens_per_minute else 0,
        )
        if shortfall == NO_COST:
            return replace(
                reservation,
                allowance=build_allowance(limits, remaining_requests - cost.requests, remaining_tokens - cost.tokens),
                needs_count=False,
            )
        wait_s = ledger_sql.wait_for_credits_s(connection, caller.project_id, model, shortfall)
        result = TakeResult(
            build_allowance(limits, remaining_requests, remaining_tokens),
            wait_s,
            "requests" if shortfall.requests else "tokens",
        )
        return replace(reservation, allowance=result.allowance, refusal=_limit_error(reservation, model, result))

    def _has_spare_capacity(self, connection: Connection, catalog: Catalog, model: str) -> bool:
        """Whether there is spare capacity. If so, it stays reserved for the caller until the end of the transaction."""
        lane = catalog.lanes.lane_for(Tier.OVER_LIMIT)

        def check_capacity() -> bool:
            return admission_sql.has_spare_capacity(
                connection, self._rules_for(catalog), lane, model, catalog.get(model).concurrency
            )

        if not check_capacity():  # avoids the lock under load, when there is usually no spare capacity
            return False
        admission_sql.lock(connection, f"spare:{lane}")
        return check_capacity()

    def give_back(self, caller: Caller, model: str, reservation: Reservation) -> None:
        """Return the credits of a create request that stored no response.

        If the response was stored without the caller's knowledge, the project has extra credits for at most a minute.
        """
        if reservation.has_credits:
            self._credits.give_back(caller.project_id, model, reservation.limits, reservation.cost)


def _estimate_cost(request: CreateResponse, requested_tier: TierRequest, token_limit: int | None) -> Cost:
    if requested_tier.tier != Tier.DEFAULT:
        return NO_COST
    return Cost(1, 0 if token_limit is None else estimates.tokens(request, limit=token_limit))


def _limit_error(reservation: Reservation, model: str, result: TakeResult) -> errors.RateLimitExceeded:
    kind = result.exhausted_limit or "requests"
    limit, cost = (
        (reservation.limits.requests_per_minute, reservation.cost.requests)
        if kind == "requests"
        else (reservation.limits.tokens_per_minute, reservation.cost.tokens)
    )
    return errors.RateLimitExceeded(
        f"Rate limit reached for '{model[:100]}' on {kind} per minute: the limit is {limit}, and this request"
        f" needs {cost}. Try again in {max(0.001, result.wait_s):.3f} s.",
        kind=kind,
        retry_after_s=result.wait_s,
        allowance=result.allowance,
    )


def _size_error(reservation: Reservation, model: str, requested_tier: TierRequest) -> errors.RateLimitExceeded:
    return errors.RateLimitExceeded(
        f"The request is too large for '{model[:100]}' on tokens per minute: the limit is"
        f" {reservation.limits.tokens_per_minute},"
        f" and input plus max_output_tokens is about {reservation.cost.tokens}.",
        kind="tokens",
        # The request never fits the limit; only spare capacity can admit it later.
        retry_after_s=DEFAULT_RETRY_AFTER_S if requested_tier.may_overflow else None,
        allowance=reservation.allowance,
    )
