"""The row of a new response, created by a plain request, from a prompt, in a chain or by a requeue."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from core import jsonio
from core.context import large_fields
from core.settings import Settings
from core.wire import Document, transcript
from core.wire.request import BackgroundOptions

_COMPLETION_WINDOWS_S = {"soonest": None, "2h": 2 * 3600, "8h": 8 * 3600}


class Draft(NamedTuple):
    """A response to insert as queued, with its first events.

    Args:
        run_s: the maximum duration of one run, in seconds.
        queue_s: the maximum wait for a worker.
        total_s: the maximum time from creation to end.
        follow_s: the maximum time without a waiting client; None for a background response.
        request: the packed request and context, as JSON text.
        document: the response object, as JSON text.
        events: the first events of its log, each as JSON text.
        item_ids: IDs of the items to which other requests may refer.
        concurrency: the model's limit on running responses, if there is one.
        requeued_from: the ID of the ended response that this one repeats, if any.
        contents: the separately stored contents of the request, by SHA-256 in hex.
        content_ids: the IDs of all contents to which the response refers, including contents of its parent.
    """

    id: str
    project_id: str
    key_id: str | None
    background: bool
    model: str
    lane: str
    tier: str
    stored: bool
    run_s: float
    queue_s: float
    total_s: float
    metadata: Mapping[str, str]
    request: str
    document: str
    events: tuple[str, ...]
    item_ids: list[str]
    follow_s: float | None = None
    concurrency: int | None = None
    reserved_requests: float = 0
    reserved_tokens: float = 0
    requeued_from: str | None = None
    contents: Mapping[str, str] = MappingProxyType({})
    content_ids: frozenset[str] = frozenset()

    def complete_document(self) -> str:
        """Return the response object with its large fields, as JSON text."""
        return large_fields.render_text(self.document, self.contents)


def first_events(document: Document, *, background: bool) -> tuple[str, ...]:
    """Return the first events of a new response: `created`, and `queued` if it runs in the background."""
    events = [{"type": "response.created", "response": document}]
    if background:
        events.append(transcript.lifecycle(document))
    return tuple(jsonio.dumps(event) for event in transcript.number(events, 0))


def time_limits_s(options: BackgroundOptions | None, settings: Settings) -> tuple[float, float]:
    """Return the maximum wait for a worker and the maximum time from creation to end, in seconds."""
    window_s = _COMPLETION_WINDOWS_S[options.completion_window] if options else None
    return window_s or settings.queue_timeout_s, max(window_s or 0, settings.whole_timeout_s)
