"""Operations of clients on existing responses: get, cancel, delete, list."""

from collections.abc import Collection, Mapping, Sequence

from core import errors, ids, jsonio
from core.batcher import Batcher
from core.context import contents_sql, parts
from core.database import Connection, Database
from core.responses import listing_sql
from core.responses import responses_sql as store
from core.runs import events_sql
from core.runs.ends import Endings, cancelled
from core.tenants import audit
from core.tenants import audit_sql as audit_log
from core.tenants.audit import Act
from core.tenants.keys import Caller
from core.wire import response, transcript
from core.wire.items import Item
from core.wire.pages import Page, build_page
from core.wire.status import Status, is_terminal

# A page of input items ends once it exceeds this size, even if it then has fewer items than requested.
PAGE_BYTES = 32 * 1024 * 1024
# Maximum polls per query: all their documents are returned in one result.
POLLS = 16

Pair = tuple[str, str]  # project ID and response ID


class Responses:
    """The responses of a project as its clients see them. Documents are JSON text."""

    def __init__(self, database: Database, endings: Endings) -> None:
        self._database = database
        self._endings = endings
        self._polls: Batcher[Pair, store.Found | None] = Batcher(self._look, most=POLLS)

    def get(self, caller: Caller, response_id: str) -> tuple[str, bool]:
        """The document of a response, with its committed output so far, and whether the response has ended.

        Raises:
            errors.NotFound: the project has no such response.
            errors.StoreUnavailable: Postgres is not available.
        """
        if not ids.is_response_id(response_id):
            raise unknown(response_id)
        pair = (caller.project_id, response_id)
        # A query that failed for a batch may succeed for a single response.
        row = self._database.again(lambda: self._polls.do(pair), lambda: self._look([pair])[0])
        if row is None:
            raise unknown(response_id)
        if row.status != Status.IN_PROGRESS:
            return row.document, is_terminal(Status(row.status))

        def running() -> str:
            with self._database.connection() as connection:
                return self._current(connection, row)

        return self._database.again(running), False

    def _look(self, wanted: Sequence[Pair]) -> list[store.Found | None]:
        with self._database.connection() as connection:
            found = store.find_each(connection, wanted)
        return [found.get(pair) for pair in wanted]

    def _current(self, connection: Connection, row: store.Found) -> str:
        if row.status != Status.IN_PROGRESS:
            return row.document
        log = transcript.fold(jsonio.loads(line) for line in events_sql.read(connection, row.id))
        return jsonio.dumps(response.running(jsonio.loads(row.document), log.output))

    def cancel(self, caller: Caller, response_id: str, *, request_id: str | None = None) -> str:
        """Cancel a background response and return its document; a response that has ended does not change.

        The cancellation is committed before the method returns, and is final.

        Args:
            request_id: for the audit log.

        Raises:
            errors.NotFound: the project has no such response.
            errors.InvalidRequest: it is not a background response.
            errors.StoreUnavailable: whether it was cancelled is unknown; a retry is safe.
        """
        with self._database.connection() as connection:
            found = _find(connection, caller, response_id)
        if not found.background:
            raise errors.InvalidRequest("Cannot cancel a synchronous response.", param="response_id")

        def end() -> str | None:
            act = Act(audit.key(caller.key_id, request_id), "response.cancelled", response_id)
            return self._endings.end(response_id, cancelled("cancelled by a client"), lambda _: True, act=act)

        return self._database.again(end) or self.get(caller, response_id)[0]

    def delete(self, caller: Caller, response_id: str, *, request_id: str | None = None) -> None:
        """Delete a response that has ended, with its events; responses that continue it keep a copy of its context.

        Args:
            request_id: for the audit log.

        Raises:
            errors.NotFound: the project has no such response.
            errors.InvalidRequest: it has not ended.
            errors.StoreUnavailable: whether it was deleted is unknown; a retry is safe.
        """
        with self._database.transaction() as connection:
            found = _find(connection, caller, response_id)
            if not is_terminal(Status(found.status)):
                advice = "; cancel it first" if found.background else ""
                raise errors.InvalidRequest(
                    f"Cannot delete an in-flight response: '{response_id}' is {found.status}{advice}.",
                    param="response_id",
                )
            if store.delete(connection, response_id):
                act = Act(audit.key(caller.key_id, request_id), "response.deleted", response_id)
                audit_log.insert(connection, act, caller.project_id)

    def input_items(
        self,
        caller: Caller,
        response_id: str,
        *,
        limit: int,
        descending: bool,
        after: str | None,
        include: Collection[str] = (),
    ) -> Page:
        """The input items of the model call: the inherited context, then the request's own input.

        Args:
            include: optional fields to return, such as the data URLs of images, which are null otherwise.

        Returns:
            A page that may have fewer than `limit` items: it ends with the item that makes it exceed `PAGE_BYTES`.

        Raises:
            errors.NotFound: the project has no such response.
            errors.InvalidRequest: `after` is not the ID of one of its items.
        """
        with self._database.connection() as connection:
            _find(connection, caller, response_id)
            packed = store.request(connection, caller.project_id, response_id)
            if packed is None:
                raise unknown(response_id)
            items = _behind(jsonio.loads(packed)["context"], after, descending=descending)
            page: list[tuple[str, str]] = []
            size = 0
            for item in items[:limit]:
                page.append((item["id"], _listed(connection, response_id, item, include)))
                size += len(page[-1][1])
                if size > PAGE_BYTES:
                    break
        return build_page(page, has_more=len(items) > len(page))

    def listed(
        self,
        caller: Caller,
        *,
        limit: int,
        descending: bool,
        after: str | None = None,
        status: str | None = None,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Page:
        """A page of a project's responses by creation time, each as a poll would return it.

        Raises:
            errors.InvalidRequest: `after` is not the ID of one of them.
        """
        with self._database.connection() as connection:
            if after is not None and find_own(connection, caller, after) is None:
                raise errors.InvalidRequest(f"Response with id '{after[:200]}' not found.", param="after")
            rows = listing_sql.page(
                connection,
                caller.project_id,
                limit=limit + 1,
                descending=descending,
                after=after,
                status=status,
                model=model,
                metadata=metadata,
            )
            entries = [(row.id, self._current(connection, row)) for row in rows[:limit]]
        return build_page(entries, has_more=len(rows) > limit)


def _behind(items: list[Item], after: str | None, *, descending: bool) -> list[Item]:
    """The items after the item `after`; reverses `items` in place if `descending`."""
    if descending:
        items.reverse()
    if after is None:
        return items
    places = [place for place, item in enumerate(items) if item["id"] == after]
    if not places:
        raise errors.InvalidRequest(f"Item with id '{after[:200]}' not found.", param="after")
    return items[places[0] + 1 :]


def _listed(connection: Connection, response_id: str, item: Item, include: Collection[str]) -> str:
    shown = parts.listed(item, include)
    needed = parts.references([shown])
    if needed:
        found = contents_sql.read(connection, response_id, needed)
        if found.keys() != needed:
            raise unknown(response_id)  # deleted concurrently
        shown = parts.changed(shown, lambda part: parts.filled(part, found))
    return jsonio.dumps(shown)


def find_own(connection: Connection, caller: Caller, response_id: str) -> store.Found | None:
    """The response, if it belongs to the caller's project; a malformed ID needs no query."""
    return store.find(connection, caller.project_id, response_id) if ids.is_response_id(response_id) else None


def _find(connection: Connection, caller: Caller, response_id: str) -> store.Found:
    found = find_own(connection, caller, response_id)
    if found is None:
        raise unknown(response_id)
    return found


def unknown(response_id: str) -> errors.NotFound:
    """The error for a response that does not exist or belongs to another project: the client cannot tell which."""
    return errors.NotFound(f"Response with id '{response_id[:200]}' not found.", param="response_id")
