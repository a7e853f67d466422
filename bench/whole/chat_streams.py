"""Reads Chat Completions streams directly from the model server, or through a bare relay (floor F2)."""

from bench import load, shapes
from bench.load import Figures, Streams, wire


def read_chat_streams(port: int, shape: str, count: int, clients: int) -> Figures:
    """Read `count` Chat Completions streams from a port; latencies are the times to the first token.

    Raises:
        load.LoadError: a stream failed.
    """
    payload = wire.post_request("/v1/chat/completions", shapes.chat_request(shape))
    return load.run(Streams(port, [payload] * count, clients, marker=shapes.MARKER, end="[DONE]"))
