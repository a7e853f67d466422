"""Creates that are answered with a stream, and streams of responses that are there."""

from collections.abc import Callable, Generator

from flask import Response

from app import rate_limits, sse
from app.sse import Left
from core.bootstrap import Core
from core.responses.create import Created, Repeat
from core.streams.wait_slots import WaitSlot
from core.tenants.keys import Caller
from core.wire.request import CreateResponse

# A foreground response's reader that has gone is noticed by a write, and costs work until then.
FOREGROUND_BEAT_S = 2.0


def create(core: Core, caller: Caller, asked: CreateResponse, repeat: Repeat | None) -> Response:
    """Create a response and stream its events; a foreground one is cancelled when its reader goes."""
    place = core.waiting.place()
    try:
        created = core.creation.create(caller, asked, repeat)
        rate_limits.note(created.allowance)
        beat_s = core.settings.ping_s if asked.background else min(FOREGROUND_BEAT_S, core.settings.ping_s)
        lines = core.streams.read(created.id, keeps=not asked.background, beat_s=beat_s)
        # It has events from its creation on; if it is gone, that can still be an HTTP error.
        first = next(lines)
    except BaseException:
        place.leave()
        raise
    on_close = _background(place) if asked.background else _foreground(core, place, created, asked, repeat)
    return sse.answer(_again(first, lines), -1, on_close, stall_s=core.settings.stall_s)


def read(core: Core, caller: Caller, response_id: str, after: int) -> Response:
    """Stream the events of a background response behind number `after`."""
    core.streams.check(caller, response_id)
    place = core.waiting.place()
    lines = core.streams.read(response_id, after=after, beat_s=core.settings.ping_s)
    return sse.answer(lines, after, _background(place), stall_s=core.settings.stall_s)


def _again(first: list[bytes], lines: Generator[list[bytes]]) -> Generator[list[bytes]]:
    """`first`, then the others; closed along with them."""
    try:
        yield first
        yield from lines
    finally:
        lines.close()


def _background(place: WaitSlot) -> Callable[[Left], None]:
    return lambda _: place.leave()


def _foreground(
    core: Core, place: WaitSlot, created: Created, asked: CreateResponse, repeat: Repeat | None
) -> Callable[[Left], None]:
    def on_close(how: Left) -> None:
        place.leave()
        if repeat is not None:
            return  # the client may come back
        if how == Left.GONE:
            core.waiting.cancel_orphan(created.id)
        elif how == Left.COMPLETE and not asked.store:
            core.waiting.forget(created.id)

    return on_close
