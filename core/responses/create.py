"""Create a response: check the request, build its context, commit the row, then enqueue it."""

import time
from dataclasses import dataclass

from core import errors, ids, jsonio
from core.allowance import NOTHING, Allowance
from core.config.catalog import Catalog, ModelConfig
from core.config.limits import UNLIMITED
from core.config.tiers import Tier
from core.context import capabilities, contents_sql, context, parts
from core.database import Connection, Database, ForeignKeyViolation, UniqueViolation
from core.dispatch import lanes_sql
from core.prompts import prompts
from core.quota import tier_request
from core.quota.admission import Admission, Admitted, Reservation
from core.quota.tier_request import TierRequest
from core.responses import idempotency_sql
from core.responses.accept import Accepting
from core.responses.draft import Draft, first_events, waits_s
from core.settings import Settings
from core.tenants.keys import Caller
from core.tenants.seals import Seals
from core.wire import response as document
from core.wire import rules
from core.wire.request import CreateResponse


@dataclass(frozen=True)
class Repeat:
    """An idempotency key, with which a client repeats a create without creating a second response.

    Args:
        key: the client's key, unique in its project for 24 hours.
        request_hash: hash of the request body, to detect reuse of the key with another body.
    """

    key: str
    request_hash: bytes


@dataclass(frozen=True)
class Created:
    """An accepted response.

    Args:
        document: the response object as JSON text; None if an earlier try or another create with the same key
            created the response, which must then be read by its ID.
        allowance: the remaining allowance of its project's limits, if there are any.
    """

    id: str
    document: str | None
    allowance: Allowance | None = None


@dataclass(frozen=True)
class _Order:
    """One create; every try to write it uses the same values.

    Args:
        alone: the context, if it can be built without reading from Postgres.
    """

    caller: Caller
    request: CreateResponse
    repeat: Repeat | None
    requested: TierRequest
    grant: Reservation
    alone: context.Context | None
    response_id: str
    created_at: int


class Creation:
    """Accepts responses."""

    def __init__(
        self,
        database: Database,
        accepting: Accepting,
        admission: Admission,
        catalog: Catalog,
        seals: Seals,
        settings: Settings,
    ) -> None:
        self._database = database
        self._accepting = accepting
        self._admission = admission
        self._catalog = catalog
        self._seals = seals
        self._settings = settings

    def create(self, caller: Caller, request: CreateResponse, repeat: Repeat | None = None) -> Created:
        """Insert a response as `queued` and, if it may run now, enqueue it.

        The row is committed before it is enqueued, so a worker always finds it. The sweeper recalls a response whose
        Celery message was lost, and it is dispatched again.

        Raises:
            errors.InvalidRequest: the request cannot be accepted. Nothing was written.
            errors.Forbidden: the key may not use the tier. Nothing was written.
            errors.RateLimited: a limit of the project is reached. Nothing was written.
            errors.StoreUnavailable: whether the response was written is unknown.
        """
        if request.prompt is None:  # reject invalid requests without a query where possible
            self._model(request)
        requested = self._requested(caller, request)
        known, priced = self._look_first(caller, request, repeat)
        if known is not None:
            return known
        grant = self._admission.ask(caller, priced, requested)
        response_id = ids.new("resp")
        created: Created | None = None
        try:
            alone = self._alone(caller, request) if repeat is None else None
            order = _Order(caller, request, repeat, requested, grant, alone, response_id, int(time.time()))
            row = self._plain_row(order)
            if row is not None:
                written = self._accepting.accept(row)
                created, lane = Created(response_id, row.document if written else None), None
            else:
                created, lane = self._database.again(lambda: self._try(order))
        finally:
            if created is None or created.id != response_id:
                self._admission.give_back(caller, priced.model or "", grant)
        if lane is not None:
            self._accepting.enqueue([response_id], lane)
        return created

    def _look_first(
        self, caller: Caller, request: CreateResponse, repeat: Repeat | None
    ) -> tuple[Created | None, CreateResponse]:
        """Find the response that this create repeats, or the request from which its credits are estimated.

        Queries Postgres only if limits apply to the project; otherwise the transaction itself finds a repeat.
        """
        if not self._admission.limits(caller) or (repeat is None and request.prompt is None):
            return None, request

        def look() -> tuple[Created | None, CreateResponse]:
            with self._database.connection() as connection:
                if repeat is not None:
                    taken = idempotency_sql.find(connection, caller.project_id, repeat.key)
                    if taken is not None:
                        return _repeated(taken, repeat), request
                return None, prompts.resolve(connection, caller.project_id, request, self._settings).request

        return self._database.again(look)

    def _try(self, order: _Order) -> tuple[Created, str | None]:
        try:
            with self._database.transaction() as connection:
                return self._write(connection, order)
        except UniqueViolation:
            # IDs are generated here only, so a duplicate means that the first try was committed.
            return Created(order.response_id, None), None
        except ForeignKeyViolation as error:
            raise errors.StoreUnavailable("Content that this request refers to was just deleted.") from error

    def _alone(self, caller: Caller, request: CreateResponse) -> context.Context | None:
        """The context of a request that refers to no prompt, response or item; None for any other request."""
        if request.prompt is not None or not context.stands_alone(request):
            return None
        built = context.build(None, caller.project_id, request, self._seals)
        capabilities.check_context(built.items, built.own, request.model or "", self._catalog.get(request.model or ""))
        return built

    def _plain_row(self, order: _Order) -> Draft | None:
        """The row of a create that needs no other query and no counting in Postgres; None for any other create."""
        built, model = order.alone, order.request.model or ""
        if built is None or built.contents or parts.references(built.items):
            return None
        if self._catalog.limits.limits_for(order.caller.project, model) != UNLIMITED:
            return None
        if self._catalog.get(model).concurrency is not None:
            return None
        return self._draft(order, order.request, Admitted(order.grant.tier, NOTHING, None), built)

    def _model(self, request: CreateResponse) -> ModelConfig:
        """Check a request as far as possible without Postgres; returns the configuration of its model."""
        rules.check_parameters(request)
        model = self._catalog.get(request.model or "")
        parts.check(request, self._settings)
        capabilities.check(request, model)
        if request.wants_sealed_reasoning and not self._seals.usable:
            raise errors.InvalidRequest(
                "'reasoning.encrypted_content' requires an encryption key on the server: set BACKBURNER_SECRET_KEY.",
                param="include",
                code="unsupported_parameter",
            )
        return model

    def _requested(self, caller: Caller, request: CreateResponse) -> TierRequest:
        options = request.background_options
        if options is not None and options.completion_window != "soonest":
            return TierRequest(Tier.FLEX)
        return tier_request.requested(request.service_tier, caller.rights)

    def _write(self, connection: Connection, order: _Order) -> tuple[Created, str | None]:
        """Insert the row, unless its idempotency key belongs to another response.

        Returns:
            The response, and the lane in which to enqueue it, or None if it must not be enqueued now.
        """
        caller, request, repeat, response_id = order.caller, order.request, order.repeat, order.response_id
        if repeat is not None:
            taken = idempotency_sql.take(
                connection,
                caller.project_id,
                repeat.key,
                request_hash=repeat.request_hash,
                response_id=response_id,
            )
            if taken is not None and taken.response_id != response_id:
                return _repeated(taken, repeat), None
        resolved = prompts.resolve(connection, caller.project_id, request, self._settings)
        with resolved.naming():
            # A request without a prompt was checked before the transaction began, to keep the transaction short.
            model = self._catalog.get(request.model or "") if request.prompt is None else self._model(resolved.request)
            request = resolved.request
            built = order.alone
            if built is None:
                built = context.build(connection, caller.project_id, request, self._seals)
                capabilities.check_context(built.items, built.own, request.model or "", model)
        admitted = self._admission.admit(connection, caller, request.model or "", order.grant, order.requested)
        limits = self._catalog.limits.limits_for(caller.project, request.model or "")
        if model.concurrency is not None or limits.running is not None:
            # These limits are exact: two transactions must not count concurrently.
            lanes_sql.lock(connection)
        row = self._draft(order, request, admitted, built)
        contents_sql.insert(connection, caller.project_id, built.contents)
        dispatched = self._accepting.write(connection, [row])
        needed = parts.references(built.items)
        if needed:
            contents_sql.refer(connection, caller.project_id, response_id, needed)
            parts.check_size(built.items, contents_sql.sizes(connection, response_id), self._settings)
        lane = self._catalog.lanes.lane_for(admitted.tier) if dispatched else None
        return Created(response_id, row.document, admitted.allowance), lane

    def _draft(self, order: _Order, request: CreateResponse, admitted: Admitted, built: context.Context) -> Draft:
        """The row to insert.

        Args:
            request: the request, with its prompt already expanded.
        """
        model = self._catalog.get(request.model or "")
        first = document.new_document(order.response_id, request, admitted.tier, order.created_at)
        queue_s, total_s = waits_s(request.background_options, self._settings)
        return Draft(
            id=order.response_id,
            project_id=order.caller.project_id,
            key_id=order.caller.key_id,
            background=request.background,
            model=request.model or "",
            lane=self._catalog.lanes.lane_for(admitted.tier),
            tier=admitted.tier.value,
            stored=request.store,
            run_s=model.timeouts.run,
            queue_s=queue_s,
            total_s=total_s,
            follow_s=None if request.background else self._settings.follow_s,
            metadata=request.metadata,
            request=context.pack(request, built),
            document=jsonio.dumps(first),
            events=first_events(first, background=request.background),
            item_ids=built.new_ids if request.store else [],
            concurrency=model.concurrency,
            reserved_requests=admitted.reserved.requests,
            reserved_tokens=admitted.reserved.tokens,
        )


def _repeated(taken: idempotency_sql.Taken, repeat: Repeat) -> Created:
    if taken.request_hash != repeat.request_hash:
        raise errors.InvalidRequest(
            "This Idempotency-Key was used with another request body.", code="idempotency_key_reuse"
        )
    return Created(taken.response_id, None)
