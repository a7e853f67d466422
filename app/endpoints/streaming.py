"""Event streams of new and of existing responses."""

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing

from app import sse
from app.auth import Reauthentication
from app.http import Answer, Exchange
from app.sse import StreamEnd
from core.bootstrap import Core
from core.responses.created import IdempotencyKey
from core.streams.wait_slots import WaitSlot
from core.wire.request import CreateResponse

# Only a write reveals that the reader of a foreground response has disconnected; until then, the response still runs.
FOREGROUND_PING_INTERVAL_S = 2.0
# A value of `starting_after` with which a stream contains all events.
_BEFORE_FIRST_EVENT = -1


def create_stream(
    exchange: Exchange, request: CreateResponse, idempotency_key: IdempotencyKey | None, body_reservation: ExitStack
) -> Answer:
    """Create a response and stream its events.

    A foreground response is cancelled when its reader disconnects, unless the request has an idempotency key.

    Args:
        body_reservation: the capacity that the request occupies until the response is created.
    """
    core = exchange.core
    slot = core.wait_slots.take_slot()
    try:
        new_response = core.creation.create(exchange.caller, request, idempotency_key)
        body_reservation.close()
        exchange.allowance = new_response.allowance
        heartbeat_s = (
            core.settings.ping_s if request.background else min(FOREGROUND_PING_INTERVAL_S, core.settings.ping_s)
        )
        batches = _read_authenticated(
            exchange, new_response.id, _BEFORE_FIRST_EVENT, heartbeat_s, keeps_alive=not request.background
        )
        # A new response already has events. If it has been deleted, the client can still get an HTTP error.
        first_batch = next(batches)
    except BaseException:
        slot.leave()
        raise
    on_close = (
        _build_slot_release(slot)
        if request.background
        else _build_foreground_cleanup(
            core, slot, new_response.id, is_stored=request.store, is_repeatable=idempotency_key is not None
        )
    )
    all_batches = _prepend_batch(first_batch, batches)
    return sse.answer(all_batches, _BEFORE_FIRST_EVENT, on_close, stall_s=core.settings.stall_s)


def stream_response(exchange: Exchange, starting_after: int) -> Answer:
    """Stream the events of a background response with sequence numbers above `starting_after`."""
    core, response_id = exchange.core, exchange.values["response_id"]
    core.streams.check(exchange.caller, response_id)
    slot = core.wait_slots.take_slot()
    batches = _read_authenticated(exchange, response_id, starting_after, core.settings.ping_s)
    return sse.answer(batches, starting_after, _build_slot_release(slot), stall_s=core.settings.stall_s)


def _read_authenticated(
    exchange: Exchange, response_id: str, after: int, heartbeat_s: float, *, keeps_alive: bool = False
) -> Generator[list[bytes]]:
    """Yield the batches of `Streams.read` while the request's key is valid.

    Raises:
        errors.InvalidKey: the key was revoked.
    """
    reauthentication = Reauthentication(exchange)
    interval_s = min(heartbeat_s, reauthentication.interval_s)
    batches = exchange.core.streams.read(response_id, after=after, keeps_alive=keeps_alive, heartbeat_s=interval_s)
    sent_at = time.monotonic()
    with closing(batches):
        for batch in batches:
            reauthentication.repeat_if_due()
            if batch or time.monotonic() - sent_at >= heartbeat_s:
                yield batch
                sent_at = time.monotonic()


def _prepend_batch(first_batch: list[bytes], batches: Generator[list[bytes]]) -> Generator[list[bytes]]:
    """Yield `first_batch`, then `batches`; closing this generator closes `batches`."""
    try:
        yield first_batch
        yield from batches
    finally:
        batches.close()


def _build_slot_release(slot: WaitSlot) -> Callable[[StreamEnd], None]:
    return lambda _: slot.leave()


def _build_foreground_cleanup(
    core: Core, slot: WaitSlot, response_id: str, *, is_stored: bool, is_repeatable: bool
) -> Callable[[StreamEnd], None]:
    def on_close(stream_end: StreamEnd) -> None:
        slot.leave()
        if is_repeatable:
            return  # the client may repeat the request with this key to get the response
        if stream_end == StreamEnd.DISCONNECTED:
            core.wait_slots.cancel_orphan(response_id)
        elif stream_end == StreamEnd.COMPLETE and not is_stored:
            core.wait_slots.delete_unstored(response_id)

    return on_close
