"""The clients' operations on existing responses: get, cancel, delete, list."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext

from core import errors, ids, jsonio
from core.batcher import Batcher
from core.context import contents_sql, context, large_fields, parts
from core.database import Connection, Database
from core.responses import listing_sql, responses_sql
from core.responses.large_contexts import LargeContexts
from core.responses.lookup import find_or_raise, find_own_response, unknown_response
from core.runs import events_sql
from core.runs.ends import Endings, cancelled_outcome
from core.tenants import audit, audit_sql
from core.tenants.audit import Act
from core.tenants.keys import Caller
from core.wire import Item, response, transcript
from core.wire.pages import Page, build_page
from core.wire.status import Status, is_terminal

# A page ends with the entry that makes the page exceed this length, even if more entries were requested.
MAX_PAGE_CHARACTERS = 32 * 1024 * 1024
# Maximum number of polls that share a query. The result contains the document of every poll, so it could become large.
MAX_POLLS = 16

ResponseKey = tuple[str, str]  # project ID and response ID


class Responses:
    """The clients' view of the responses of a project. Documents are JSON text."""

    def __init__(self, database: Database, endings: Endings, large_contexts: LargeContexts) -> None:
        self._database = database
        self._large_contexts = large_contexts
        self._endings = endings
        self._poll_batcher: Batcher[ResponseKey, responses_sql.StoredResponse | None] = Batcher(
            self._find_all, max_items=MAX_POLLS
        )

    def get(self, caller: Caller, response_id: str) -> tuple[str, bool]:
        """Return the document of a response with its committed output, and whether the response has ended.

        Raises:
            errors.NotFound: the project has no such response.
            errors.StoreUnavailable: Postgres is unavailable.
        """
        if not ids.is_response_id(response_id):
            raise unknown_response(response_id)
        key = (caller.project_id, response_id)
        # The retry reads a single response: its query may succeed where the query of a batch failed.
        row = self._database.run_with_retry(lambda: self._poll_batcher.process(key), lambda: self._find_all([key])[0])
        if row is None:
            raise unknown_response(response_id)
        has_ended = is_terminal(Status(row.status))
        if row.status != Status.IN_PROGRESS and not large_fields.text_has_references(row.document):
            return row.document, has_ended

        def read_document() -> str:
            with self._database.connection() as connection:
                return self._current_document(connection, row)

        return self._database.run_with_retry(read_document), has_ended

    def _find_all(self, keys: Sequence[ResponseKey]) -> list[responses_sql.StoredResponse | None]:
        with self._database.connection() as connection:
            rows = responses_sql.find_each(connection, keys)
        return [rows.get(key) for key in keys]

    def _current_document(self, connection: Connection, row: responses_sql.StoredResponse) -> str:
        document = row.document
        if row.status == Status.IN_PROGRESS:
            events = (jsonio.loads(line) for line in events_sql.read_log(connection, row.id))
            output = transcript.fold(events).output
            document = jsonio.dumps(response.running_document(jsonio.loads(document), output))
        return large_fields.load_text(connection, row.id, document)

    def cancel(self, caller: Caller, response_id: str, *, request_id: str | None = None) -> str:
        """Cancel a background response and return its document; an ended response does not change.

        The cancellation is committed before the method returns, and is final.

        Args:
            request_id: for the audit log.

        Raises:
            errors.NotFound: the project has no such response.
            errors.InvalidRequest: it is not a background response.
            errors.StoreUnavailable: whether it was cancelled is unknown; a retry is safe.
        """
        with self._database.connection() as connection:
            row = find_or_raise(connection, caller, response_id)
        if not row.background:
            raise errors.InvalidRequest("Cannot cancel a synchronous response.", param="response_id")

        def end_response() -> str | None:
            act = Act(audit.key(caller.key_id, request_id), "response.cancelled", response_id)
            return self._endings.end(response_id, cancelled_outcome("cancelled by a client"), lambda _: True, act=act)

        document = self._database.run_with_retry(end_response)
        if document is None or large_fields.text_has_references(document):
            return self.get(caller, response_id)[0]
        return document

    def delete(self, caller: Caller, response_id: str, *, request_id: str | None = None) -> None:
        """Delete an ended response and its events. Responses that continue it have their own copy of its context.

        Args:
            request_id: for the audit log.

        Raises:
            errors.NotFound: the project has no such response.
            errors.InvalidRequest: it has not ended.
            errors.StoreUnavailable: whether it was deleted is unknown; a retry is safe.
        """
        with self._database.transaction() as connection:
            row = find_or_raise(connection, caller, response_id)
            if not is_terminal(Status(row.status)):
                advice = "; cancel it first" if row.background else ""
                raise errors.InvalidRequest(
                    f"Cannot delete an in-flight response: '{response_id}' is {row.status}{advice}.",
                    param="response_id",
                )
            if responses_sql.delete(connection, response_id):
                act = Act(audit.key(caller.key_id, request_id), "response.deleted", response_id)
                audit_sql.insert(connection, act, caller.project_id)

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
        """List the input items of the model call: the inherited context, then the request's own input.

        Args:
            include: the client's `include`; data URLs of images that it does not request are null.

        Returns:
            A page of at most `limit` items; it ends earlier, with the item that makes it exceed `MAX_PAGE_CHARACTERS`.

        Raises:
            errors.NotFound: the project has no such response.
            errors.InvalidRequest: `after` is not the ID of an item of the response.
            errors.ServerBusy: too many requests read large contexts.
        """
        with self._database.connection() as connection:
            find_or_raise(connection, caller, response_id)
            packed_request = responses_sql.read_request(connection, caller.project_id, response_id)
            if packed_request is None:
                raise unknown_response(response_id)
        is_large = large_fields.text_has_references(packed_request)
        with (
            self._large_contexts.acquire_slot() if is_large else nullcontext(),
            self._database.connection() as connection,
        ):
            context_items = context.load_items(connection, response_id, packed_request)
            items = _items_after(context_items, after, descending=descending)
            entries = _limit_page(
                (item["id"], _render_item(connection, response_id, item, include)) for item in items[:limit]
            )
        return build_page(entries, has_more=len(items) > len(entries))

    def list_responses(
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
        """Return a page of a project's responses in the order of their creation, each as a poll would return it.

        Raises:
            errors.InvalidRequest: `after` is not the ID of a response of the project.
        """
        # A response that is deleted during the request is listed completely, or not at all.
        with self._database.snapshot() as connection:
            if after is not None and find_own_response(connection, caller, after) is None:
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
            entries = _limit_page((row.id, self._current_document(connection, row)) for row in rows[:limit])
        return build_page(entries, has_more=len(rows) > len(entries))


def _limit_page(entries: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the entries up to the one that makes the page exceed `MAX_PAGE_CHARACTERS`; compute no further ones."""
    page: list[tuple[str, str]] = []
    page_length = 0
    for entry in entries:
        page.append(entry)
        page_length += len(entry[1])
        if page_length > MAX_PAGE_CHARACTERS:
            break
    return page


def _items_after(items: list[Item], after: str | None, *, descending: bool) -> list[Item]:
    """Return the items after the item with the ID `after`, or all items; if `descending`, first reverse `items`."""
    if descending:
        items.reverse()
    if after is None:
        return items
    positions = [position for position, item in enumerate(items) if item["id"] == after]
    if not positions:
        raise errors.InvalidRequest(f"Item with id '{after[:200]}' not found.", param="after")
    return items[positions[0] + 1 :]


def _render_item(connection: Connection, response_id: str, item: Item, include: Collection[str]) -> str:
    item = parts.hide_images(item, include)
    content_ids = parts.references([item])
    if content_ids:
        contents = contents_sql.read(connection, response_id, content_ids)
        if contents.keys() != content_ids:
            raise unknown_response(response_id)  # deleted concurrently
        item = parts.map_media(item, lambda part: parts.insert_content(part, contents))
    return jsonio.dumps(item)
