"""Event streams of new and of existing responses."""

from collections.abc import Callable, Generator

from app import sse
from app.http import Answer, Exchange
from app.sse import Left
from core.bootstrap import Core
from core.responses.create import Created, Repeat
from core.streams.wait_slots import WaitSlot
from core.wire.request import CreateResponse

# Only a write reveals that the reader of a foreground response has disconnected. Until then, its run uses resources.
FOREGROUND_BEAT_S = 2.0


def create(exchange: Exchange, asked: CreateResponse, repeat: Repeat | None) -> Answer:
    """Create a response and stream its events.

    A foreground response is cancelled when its reader disconnects, unless the request has an idempotency key.
    """
    core = exchange.core
    slot = core.waiting.place()
    try:
        created = core.creation.create(exchange.caller, asked, repeat)
        exchange.allowance = created.allowance
        beat_s = core.settings.ping_s if asked.background else min(FOREGROUND_BEAT_S, core.settings.ping_s)
        lines = core.streams.read(created.id, keeps=not asked.background, beat_s=beat_s)
        # A new response already has events. If it has been deleted, the client can still get an HTTP error.
        first = next(lines)
    except BaseException:
        slot.leave()
        raise
    on_close = _leave(slot) if asked.background else _end_foreground(core, slot, created, asked, repeat)
    return sse.answer(_chain(first, lines), -1, on_close, stall_s=core.settings.stall_s)


def read(exchange: Exchange, after: int) -> Answer:
    """Stream the events of a background response with sequence numbers above `after`."""
    core, response_id = exchange.core, exchange.values["response_id"]
    core.streams.check(exchange.caller, response_id)
    slot = core.waiting.place()
    lines = core.streams.read(response_id, after=after, beat_s=core.settings.ping_s)
    return sse.answer(lines, after, _leave(slot), stall_s=core.settings.stall_s)


def _chain(first: list[bytes], lines: Generator[list[bytes]]) -> Generator[list[bytes]]:
    """Yield `first`, then `lines`; closing this generator closes `lines`."""
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
            return  # keep it: a repeat with this key returns the response
        if how == Left.GONE:
            core.waiting.cancel_orphan(created.id)
        elif how == Left.COMPLETE and not asked.store:
            core.waiting.forget(created.id)

    return on_close
