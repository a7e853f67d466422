"""Event streams: of a response that is created, and of one that exists."""

from collections.abc import Callable, Generator

from app import sse
from app.http import Answer, Exchange
from app.sse import Left
from core.bootstrap import Core
from core.responses.create import Created, Repeat
from core.streams.wait_slots import WaitSlot
from core.wire.request import CreateResponse

# Only a write shows that the reader of a foreground response has disconnected, and its work costs until then.
FOREGROUND_BEAT_S = 2.0


def create(exchange: Exchange, asked: CreateResponse, repeat: Repeat | None) -> Answer:
    """Create a response and stream its events; a foreground response is cancelled when its reader disconnects."""
    core = exchange.core
    slot = core.waiting.place()
    try:
        created = core.creation.create(exchange.caller, asked, repeat)
        exchange.allowance = created.allowance
        beat_s = core.settings.ping_s if asked.background else min(FOREGROUND_BEAT_S, core.settings.ping_s)
        lines = core.streams.read(created.id, keeps=not asked.background, beat_s=beat_s)
        # A response has events from its creation on; if it was deleted, that can still be an HTTP error.
        first = next(lines)
    except BaseException:
        slot.leave()
        raise
    on_close = _leave(slot) if asked.background else _end_foreground(core, slot, created, asked, repeat)
    return sse.answer(_chain(first, lines), -1, on_close, stall_s=core.settings.stall_s)


def read(exchange: Exchange, after: int) -> Answer:
    """Stream the events of a background response behind number `after`."""
    core, response_id = exchange.core, exchange.values["response_id"]
    core.streams.check(exchange.caller, response_id)
    slot = core.waiting.place()
    lines = core.streams.read(response_id, after=after, beat_s=core.settings.ping_s)
    return sse.answer(lines, after, _leave(slot), stall_s=core.settings.stall_s)


def _chain(first: list[bytes], lines: Generator[list[bytes]]) -> Generator[list[bytes]]:
    """`first`, then the others; closed along with them."""
    try:
        yield first
        yield from lines
    finally:
        lines.close()


def _leave(slot: WaitSlot) -> Callable[[Left], None]:
    return lambda _: slot.leave()


def _end_foreground(
    core: Core, slot: WaitSlot, created: Created, asked: CreateResponse, repeat: Repeat | None
) -> Callable[[Left], None]:
    def on_close(how: Left) -> None:
        slot.leave()
        if repeat is not None:
            return  # the client may come back
        if how == Left.GONE:
            core.waiting.cancel_orphan(created.id)
        elif how == Left.COMPLETE and not asked.store:
            core.waiting.forget(created.id)

    return on_close
