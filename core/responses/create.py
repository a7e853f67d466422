"""Creates a response: checks the request, builds its context, commits the row, then enqueues it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from core import errors, ids, jsonio
from core.allowance import NO_COST
from core.config.catalog import Catalog, ModelConfig
from core.config.limits import UNLIMITED
from core.config.live_catalog import LiveCatalog
from core.config.tiers import Tier
from core.context import capabilities, contents_sql, context, parts
from core.context.stored_request import StoredRequest, prepare_request
from core.database import Connection, Database, UniqueViolation
from core.dispatch import lanes_sql
from core.dispatch.situation import Rules
from core.prompts.resolve import resolve_prompt
from core.quota import tier_request
from core.quota.admission import Admission, AdmissionResult, Reservation
from core.quota.tier_request import TierRequest
from core.responses import idempotency_sql
from core.responses.accept import ResponseAcceptor
from core.responses.created import CreatedResponse, IdempotencyKey
from core.responses.draft import Draft, first_events, time_limits_s
from core.responses.large_contexts import LargeContexts
from core.settings import Settings
from core.tenants.keys import Caller
from core.tenants.seals import Seals
from core.wire import response, rules
from core.wire.request import CreateResponse


@dataclass(frozen=True)
class _PendingCreate:
    """A create request, with the values that must be the same in every attempt to write its response.

    Args:
        catalog: the configuration for the whole request.
        standalone_context: the context, if it can be built without reading from Postgres.
        reads_large_contexts: whether the request has a slot to inherit a large context.
    """

    catalog: Catalog
    caller: Caller
    request: CreateResponse
    idempotency_key: IdempotencyKey | None
    requested_tier: TierRequest
    reservation: Reservation
    standalone_context: context.Context | None
    response_id: str
    created_at: int = field(default_factory=lambda: int(time.time()))
    reads_large_contexts: bool = False


class Creation:
    """Accepts create requests."""

    def __init__(
        self,
        database: Database,
        acceptor: ResponseAcceptor,
        admission: Admission,
        rules_for: Callable[[Catalog], Rules],
        live_catalog: LiveCatalog,
        seals: Seals,
        settings: Settings,
        large_contexts: LargeContexts,
    ) -> None:
        self._database = database
        self._acceptor = acceptor
        self._admission = admission
        self._rules_for = rules_for
        self._live_catalog = live_catalog
        self._seals = seals
        self._settings = settings
        self._large_contexts = large_contexts

    def create(self, caller: Caller, request: CreateResponse, key: IdempotencyKey | None = None) -> CreatedResponse:
        """Insert a response as `queued` and, if it may run now, enqueue it.

        The row is committed before it is enqueued, so a worker always finds it.

        Raises:
            errors.InvalidRequest: the request cannot be accepted. Nothing was written.
            errors.Forbidden: the key may not use the tier. Nothing was written.
            errors.RateLimitExceeded: a limit of the project is reached. Nothing was written.
            errors.ServerBusy: too many requests read large contexts. Nothing was written.
            errors.StoreUnavailable: whether the response was written is unknown.
        """
        catalog = self._live_catalog.current
        if request.prompt is None:  # reject invalid requests without a query where possible
            self._check_request(catalog, request)
        requested_tier = self._resolve_tier(caller, request)
        earlier_response, resolved_request = self._resolve_key_and_prompt(catalog, caller, request, key)
        if earlier_response is not None:
            return earlier_response
        reservation = self._admission.reserve(catalog, caller, resolved_request, requested_tier)
        response_id = ids.new_id("resp")
        new_response: CreatedResponse | None = None
        try:
            new_context = self._build_standalone_context(catalog, caller, request) if key is None else None
            pending_create = _PendingCreate(
                catalog, caller, request, key, requested_tier, reservation, new_context, response_id
            )
            row = self._build_plain_row(pending_create)
            if row is not None:
                is_new = self._acceptor.accept(row)
                new_response = CreatedResponse(response_id, row.complete_document() if is_new else None)
                lane = None  # the acceptor has enqueued the response if it may run now
            else:
                new_response, lane = self._write_row(pending_create)
        finally:
            if new_response is None or new_response.id != response_id:
                self._admission.give_back(caller, resolved_request.model or "", reservation)
        if lane is not None:
            self._acceptor.enqueue([response_id], lane)
        return new_response

    def _resolve_key_and_prompt(
        self, catalog: Catalog, caller: Caller, request: CreateResponse, key: IdempotencyKey | None
    ) -> tuple[CreatedResponse | None, CreateResponse]:
        """Find the response of an earlier request with the same key, and expand the prompt to estimate the credits.

        Queries Postgres only if limits apply to the project. Otherwise the transaction itself finds an earlier response
        and expands the prompt.

        Returns:
            The earlier response, if there is one, and the request with its prompt expanded where that was necessary.
        """
        if not catalog.limits.has_limits(caller.project) or (key is None and request.prompt is None):
            return None, request

        def resolve() -> tuple[CreatedResponse | None, CreateResponse]:
            with self._database.connection() as connection:
                if key is not None:
                    owner = idempotency_sql.find_owner(connection, caller.project_id, key.key)
                    if owner is not None:
                        return _earlier_response(owner, key), request
                return None, resolve_prompt(connection, caller.project_id, request, self._settings).request

        return self._database.run_with_retry(resolve)

    def _write_row(self, pending_create: _PendingCreate) -> tuple[CreatedResponse, str | None]:
        """Write the response of a create; if it inherits a large context, first wait for a slot without a connection.

        Returns:
            The same as `_write`.
        """
        try:
            return self._database.run_with_retry(lambda: self._write_once(pending_create))
        except context.LargeContextFound:
            pending_create = replace(pending_create, reads_large_contexts=True)
        with self._large_contexts.acquire_slot():
            return self._database.run_with_retry(lambda: self._write_once(pending_create))

    def _write_once(self, pending_create: _PendingCreate) -> tuple[CreatedResponse, str | None]:
        """Write the response of a create in a transaction, unless an earlier attempt has committed it."""
        try:
            with self._database.transaction() as connection:
                return self._write(connection, pending_create)
        except UniqueViolation:
            # Only this process generates these IDs: a duplicate means that the first attempt was committed.
            return CreatedResponse(pending_create.response_id, None), None

    def _build_standalone_context(
        self, catalog: Catalog, caller: Caller, request: CreateResponse
    ) -> context.Context | None:
        """Return the context of a request that refers to no prompt, response or item; None for any other request."""
        if request.prompt is not None or not context.is_standalone(request):
            return None
        new_context = context.build(None, caller.project_id, request, self._seals)
        self._check_context(new_context, request, catalog.get(request.model or ""))
        return new_context

    def _check_context(self, new_context: context.Context, request: CreateResponse, model: ModelConfig) -> None:
        capabilities.check_context(new_context.items, new_context.input_count, request.model or "", model)

    def _build_plain_row(self, pending_create: _PendingCreate) -> Draft | None:
        """Return the row of a create that requires only an INSERT; None if it requires reads or counts in Postgres."""
        new_context, model = pending_create.standalone_context, pending_create.request.model or ""
        if new_context is None or new_context.contents:
            return None
        if pending_create.catalog.limits.limits_for(pending_create.caller.project, model) != UNLIMITED:
            return None
        if pending_create.catalog.get(model).concurrency is not None:
            return None
        stored_request = self._prepare_stored_request(pending_create, pending_create.request, new_context)
        admission = AdmissionResult(pending_create.reservation.tier, NO_COST, None)
        return self._build_draft(pending_create, pending_create.request, admission, stored_request)

    def _check_request(self, catalog: Catalog, request: CreateResponse) -> ModelConfig:
        """Check a request as far as possible without Postgres; return the configuration of its model."""
        rules.check_parameters(request)
        model = catalog.get(request.model or "")
        parts.check_input(request, self._settings)
        capabilities.check_request(request, model)
        if request.includes_sealed_reasoning and not self._seals.has_key:
            raise errors.InvalidRequest(
                "'reasoning.encrypted_content' requires an encryption key on the server: set BACKBURNER_SECRET_KEY.",
                param="include",
                code="unsupported_parameter",
            )
        return model

    def _resolve_tier(self, caller: Caller, request: CreateResponse) -> TierRequest:
        options = request.background_options
        if options is not None and options.completion_window != "soonest":
            return TierRequest(Tier.FLEX)
        return tier_request.resolve_tier(request.service_tier, caller.rights)

    def _write(self, connection: Connection, pending_create: _PendingCreate) -> tuple[CreatedResponse, str | None]:
        """Insert the row, unless its idempotency key belongs to another response.

        Returns:
            The response, and the lane in which to enqueue it, or None if it must not be enqueued now.
        """
        catalog, caller, request = pending_create.catalog, pending_create.caller, pending_create.request
        key, response_id = pending_create.idempotency_key, pending_create.response_id
        if key is not None:
            owner = idempotency_sql.claim_key(
                connection, caller.project_id, key.key, request_hash=key.request_hash, response_id=response_id
            )
            if owner is not None and owner.response_id != response_id:
                return _earlier_response(owner, key), None
        resolved_request = resolve_prompt(connection, caller.project_id, request, self._settings)
        with resolved_request.relocate_errors():
            # A request without a prompt was checked before the transaction began, to keep the transaction short.
            is_checked, request = request.prompt is None, resolved_request.request
            model = catalog.get(request.model or "") if is_checked else self._check_request(catalog, request)
            new_context = pending_create.standalone_context
            if new_context is None:
                new_context = self._build_context(connection, pending_create, request, model)
        # Large contents take time to write: insert them before taking locks for which other requests wait.
        stored_request = self._prepare_stored_request(pending_create, request, new_context)
        contents_sql.insert(connection, caller.project_id, stored_request.contents)
        admission_result = self._admission.admit(
            connection, catalog, caller, request.model or "", pending_create.reservation, pending_create.requested_tier
        )
        limits = catalog.limits.limits_for(caller.project, request.model or "")
        if model.concurrency is not None or limits.running is not None:
            # Two transactions that count running responses at the same time could exceed these limits together.
            lanes_sql.lock(connection)
        row = self._build_draft(pending_create, request, admission_result, stored_request)
        dispatched_ids = self._acceptor.write(connection, [row], self._rules_for(catalog))
        if parts.references(new_context.items):
            parts.check_size(new_context.items, contents_sql.read_sizes(connection, response_id), self._settings)
        lane = catalog.lanes.lane_for(admission_result.tier) if dispatched_ids else None
        return CreatedResponse(response_id, row.complete_document(), admission_result.allowance), lane

    def _build_context(
        self, connection: Connection, pending_create: _PendingCreate, request: CreateResponse, model: ModelConfig
    ) -> context.Context:
        """Build and check the context of a request, with its prompt already expanded."""
        new_context = context.build(
            connection,
            pending_create.caller.project_id,
            request,
            self._seals,
            reads_large_contexts=pending_create.reads_large_contexts,
        )
        self._check_context(new_context, request, model)
        return new_context

    def _prepare_stored_request(
        self, pending_create: _PendingCreate, request: CreateResponse, new_context: context.Context
    ) -> StoredRequest:
        """Serialize a request, with its prompt already expanded, and its response object."""
        new_document = response.new_document(
            pending_create.response_id, request, pending_create.reservation.tier, pending_create.created_at
        )
        return prepare_request(request, new_context, new_document)

    def _build_draft(
        self,
        pending_create: _PendingCreate,
        request: CreateResponse,
        admission: AdmissionResult,
        stored_request: StoredRequest,
    ) -> Draft:
        """Return the row to insert.

        Args:
            request: the request, with its prompt already expanded.
        """
        model = pending_create.catalog.get(request.model or "")
        new_document = stored_request.document
        new_document["service_tier"] = admission.tier.value  # may differ from that of the reservation
        queue_s, total_s = time_limits_s(request.background_options, self._settings)
        return Draft(
            id=pending_create.response_id,
            project_id=pending_create.caller.project_id,
            key_id=pending_create.caller.key_id,
            background=request.background,
            model=request.model or "",
            lane=pending_create.catalog.lanes.lane_for(admission.tier),
            tier=admission.tier.value,
            stored=request.store,
            run_s=model.timeouts.run,
            queue_s=queue_s,
            total_s=total_s,
            follow_s=None if request.background else self._settings.follow_s,
            metadata=request.metadata,
            request=stored_request.packed,
            document=jsonio.dumps(new_document),
            events=first_events(new_document, background=request.background),
            item_ids=stored_request.item_ids,
            concurrency=model.concurrency,
            reserved_requests=admission.reserved.requests,
            reserved_tokens=admission.reserved.tokens,
            contents=stored_request.contents,
            content_ids=stored_request.content_ids,
        )


def _earlier_response(owner: idempotency_sql.KeyOwner, key: IdempotencyKey) -> CreatedResponse:
    if owner.request_hash != key.request_hash:
        raise errors.InvalidRequest(
            "This Idempotency-Key was used with another request body.", code="idempotency_key_reuse"
        )
    return CreatedResponse(owner.response_id, None)
