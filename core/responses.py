"""What a client may do with responses: create, get, cancel."""

import time

import psycopg

from core import errors, ids, jsonio, tiers, transcript
from core.catalog import Catalog
from core.db import Connection, Database
from core.dispatch import Dispatch
from core.endings import Endings, cancelled
from core.lifecycle import Status
from core.queue import Doorbell
from core.schemas import document
from core.schemas.request import CreateResponse
from core.settings import Settings
from core.store import events, lanes
from core.store import responses as store
from core.store.keys import Caller


class Responses:
    """A project's responses, as its clients see them. Documents are JSON text."""

    def __init__(
        self,
        database: Database,
        doorbell: Doorbell,
        dispatch: Dispatch,
        endings: Endings,
        catalog: Catalog,
        settings: Settings,
    ) -> None:
        self._database = database
        self._doorbell = doorbell
        self._dispatch = dispatch
        self._endings = endings
        self._catalog = catalog
        self._settings = settings

    def create(self, caller: Caller, request: CreateResponse) -> str:
        """Store a response as queued and, if it may run now, ring for it; its document.

        The row is committed before the ring, so a worker never misses it; a ring that is lost is repeated.

        Raises:
            errors.InvalidRequest: it cannot be taken. Nothing is written.
            errors.Forbidden: the key may not use the tier. Nothing is written.
            errors.StoreUnavailable: it is not known to be written.
        """
        if not request.background:
            raise errors.InvalidRequest(
                "Only background=true is served: create with background=true and poll by ID.",
                param="background",
                code="unsupported_parameter",
            )
        if not request.store:
            raise errors.InvalidRequest(
                "background can only be used when `store` is true (background=true requires store=true).",
                param="background",
                code="unsupported_parameter",
            )
        model = self._catalog.get(request.model)
        tier = tiers.admit(request.service_tier, caller.rights)
        response_id = ids.new("resp")
        first = document.first(response_id, request, tier, int(time.time()))
        announced = transcript.number([{"type": "response.created", "response": first}, transcript.lifecycle(first)], 0)
        text = jsonio.dumps(first)
        values = {
            "id": response_id,
            "project_id": caller.project_id,
            "background": request.background,
            "model": request.model,
            "lane": tiers.LANE,
            "tier": tier.value,
            "run_s": model.timeouts.run,
            "queue_s": self._settings.queue_timeout_s,
            "whole_s": self._settings.whole_timeout_s,
            "request": request.model_dump_json(),
            "document": text,
            "n": len(announced),
            "events": "\n".join(jsonio.dumps(event) for event in announced),
            "concurrency": model.concurrency,
            "worker_seen_s": self._settings.worker_seen_s,
            "ringable": self._doorbell.rings,
        }
        if self._insert(values):
            self._ring(response_id)
        return text

    def _insert(self, values: dict[str, object]) -> bool:
        """Write the row, once, also where the first try's answer was lost; whether it may be rung."""

        def insert() -> bool:
            try:
                with self._database.transaction() as connection:
                    if values["concurrency"] is not None:
                        # A model's limit is exact: its counting must not overlap with another's.
                        lanes.lock(connection, tiers.LANE, wait=True)
                    return store.insert(connection, values)
            except psycopg.errors.UniqueViolation:
                # The first try had been committed: nobody else makes this ID.
                return False

        return self._database.again(insert)

    def _ring(self, response_id: str) -> None:
        try:
            self._dispatch.ring([response_id], tiers.LANE)
        except errors.StoreUnavailable:
            # It is accepted; a ring without an answer is taken back by the sweeper.
            return

    def get(self, caller: Caller, response_id: str) -> tuple[str, bool]:
        """A response's document, with what is committed of its output, and whether it has ended.

        Raises:
            errors.NotFound: the project has no such response.
            errors.StoreUnavailable: Postgres could not be asked.
        """
        return self._database.again(lambda: self._get(caller, response_id))

    def _get(self, caller: Caller, response_id: str) -> tuple[str, bool]:
        if not ids.is_response_id(response_id):
            raise unknown(response_id)
        with self._database.connection() as connection:
            row = store.find(connection, caller.project_id, response_id)
            if row is None:
                raise unknown(response_id)
            if row.status != Status.IN_PROGRESS:
                return row.document, row.status != Status.QUEUED
            return self._partial(connection, response_id, row.document), False

    def _partial(self, connection: Connection, response_id: str, first: str) -> str:
        log = transcript.fold(jsonio.loads(line) for line in events.read(connection, response_id))
        return jsonio.dumps(document.running(jsonio.loads(first), log.output))

    def cancel(self, caller: Caller, response_id: str) -> str:
        """Cancel a response, at once and for good; one that has ended stays as it is. Its document.

        Raises:
            errors.NotFound: the project has no such response.
            errors.StoreUnavailable: whether it was cancelled is unknown; asking again is safe.
        """
        if not ids.is_response_id(response_id):
            raise unknown(response_id)

        def end() -> str | None:
            return self._endings.end(
                response_id,
                cancelled("cancelled by a client"),
                lambda row: row.project_id == caller.project_id,
            )

        return self._database.again(end) or self.get(caller, response_id)[0]


def unknown(response_id: str) -> errors.NotFound:
    """The error for a response that is not there, or not the caller's: the two look the same."""
    return errors.NotFound(f"Response with id '{response_id[:200]}' not found.", param="response_id")
