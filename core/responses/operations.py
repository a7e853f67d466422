"""The operators' operations on responses of any project: list, show, cancel, requeue."""

import contextlib
import time

from core import errors, ids, jsonio
from core.config.live_catalog import LiveCatalog
from core.context import contents_sql, items_sql, large_fields
from core.database import Connection, Database
from core.dispatch.dispatcher import Dispatch
from core.jsonio import JsonObject
from core.responses import operations_sql, responses_sql
from core.responses.draft import Draft, first_events, time_limits_s
from core.responses.operations_sql import AttemptDetails, ResponseDetails, Source
from core.runs.ends import Endings, cancelled_outcome
from core.settings import Settings
from core.tenants import audit, audit_sql
from core.tenants.audit import Act
from core.wire import response
from core.wire.request import BackgroundOptions
from core.wire.status import Status, is_terminal

__all__ = ["AttemptDetails", "Operations", "ResponseDetails"]


class Operations:
    """The operators' operations, which are not restricted to one project."""

    def __init__(
        self, database: Database, dispatch: Dispatch, endings: Endings, live_catalog: LiveCatalog, settings: Settings
    ) -> None:
        self._database = database
        self._dispatch = dispatch
        self._endings = endings
        self._live_catalog = live_catalog
        self._settings = settings

    def list_newest(
        self, *, project: str | None = None, status: str | None = None, model: str | None = None, limit: int
    ) -> list[ResponseDetails]:
        """List at most `limit` responses, newest first, including responses with `store` false."""
        with self._database.connection() as connection:
            return operations_sql.list_newest(connection, project=project, status=status, model=model, limit=limit)

    def show(self, response_id: str) -> tuple[ResponseDetails, list[AttemptDetails]]:
        """Return a response and all its attempts.

        Raises:
            errors.NotFound: the response does not exist.
        """
        with self._database.connection() as connection:
            details = operations_sql.show(connection, response_id)
            if details is None:
                raise _not_found_error(response_id)
            return details, operations_sql.list_attempts(connection, response_id)

    def cancel(self, response_id: str) -> bool:
        """Cancel a background or foreground response; return False if it had already ended.

        Raises:
            errors.NotFound: the response does not exist.
        """
        self.show(response_id)
        outcome = cancelled_outcome("cancelled by an operator")
        act = Act(audit.operator(), "response.cancelled", response_id)
        return (
            self._database.run_with_retry(lambda: self._endings.end(response_id, outcome, lambda _: True, act=act))
            is not None
        )

    def requeue(self, response_id: str, *, project: str | None = None) -> str:
        """Create a new response from a failed, cancelled or incomplete one; return the ID of the new response.

        The new response has the project, tier, request and context of the old one, as stored at its creation, and
        the currently configured timeouts. It runs in the background, because no client waits for it. The old
        response does not change.

        Args:
            project: the name of the project to which the response must belong.

        Raises:
            errors.NotFound: the response does not exist or belongs to another project.
            errors.InvalidRequest: it has not ended, it is completed, it was not stored, or it was already requeued.
            errors.UnknownModel: its model is no longer configured.
            errors.StoreUnavailable: whether the new response was created is unknown; a retry is safe.
        """
        new_id = ids.new_id("resp")
        with self._database.transaction() as connection:
            source = operations_sql.lock_source(connection, response_id)
            if source is None or project not in {None, source.project}:
                raise _not_found_error(response_id)
            _check_requeueable(source)
            self._insert_copy(connection, source, new_id)
            act = Act(audit.operator(), "response.requeued", source.id, {"as": new_id})
            audit_sql.insert(connection, act, source.project_id)
        with contextlib.suppress(errors.StoreUnavailable):  # the sweeper's next round dispatches the response
            self._dispatch.dispatch()
        return new_id

    def _insert_copy(self, connection: Connection, source: Source, new_id: str) -> None:
        """Insert the new response, which repeats `source`, without dispatching it."""
        packed_request: JsonObject = jsonio.loads(source.request)
        context = large_fields.load_fields(connection, source.id, packed_request)["context"]
        referable_ids = items_sql.list_ids(connection, source.id)
        item_ids = [item["id"] for item in context if item["id"] in referable_ids]
        draft = self._build_draft(source, new_id, packed_request, item_ids)
        responses_sql.insert(connection, [draft], {"dispatchable": False, **self._dispatch.rules.parameters})
        contents_sql.copy_references(connection, source.id, new_id)

    def _build_draft(self, source: Source, new_id: str, packed_request: JsonObject, item_ids: list[str]) -> Draft:
        request = packed_request["request"]
        request["background"] = True
        options = request.get("background_options")
        queue_s, total_s = time_limits_s(options and BackgroundOptions.model_validate(options), self._settings)
        document = response.requeued_document(jsonio.loads(source.document), new_id, int(time.time()))
        return Draft(
            id=new_id,
            project_id=source.project_id,
            key_id=source.key_id,
            background=True,
            model=source.model,
            lane=source.lane,
            tier=source.tier,
            stored=True,
            run_s=self._live_catalog.current.get(source.model).timeouts.run,
            queue_s=queue_s,
            total_s=total_s,
            metadata=source.metadata,
            request=jsonio.dumps(packed_request),
            document=jsonio.dumps(document),
            events=first_events(document, background=True),
            item_ids=item_ids,
            requeued_from=source.id,
        )


def _check_requeueable(source: Source) -> None:
    status = Status(source.status)
    if not is_terminal(status):
        raise errors.InvalidRequest(f"'{source.id}' is {status}: it has not ended.")
    if status == Status.COMPLETED:
        raise errors.InvalidRequest(f"'{source.id}' is completed: there is nothing to repeat.")
    if not source.stored:
        raise errors.InvalidRequest(f"'{source.id}' was created with store false: no client could read the new one.")
    if source.requeued_ids:
        raise errors.InvalidRequest(f"'{source.id}' was already requeued as '{source.requeued_ids[0]}'.")


def _not_found_error(response_id: str) -> errors.NotFound:
    return errors.NotFound(f"There is no response '{response_id[:200]}'; it may have been deleted.")
