"""A bare stream relay in one process: it forwards the events of the model server and stores nothing.

Usage: `python -m bench.floors.relay PORT MODEL_SERVER_PORT`.
"""

import asyncio
import re
import sys

import uvloop

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
# The response to the readiness check, a GET request.
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Relay:
    """Relays all requests to a model server."""

    def __init__(self, model_server_port: int) -> None:
        self._model_server_port = model_server_port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection, which carries a single request."""
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            content_length = _CONTENT_LENGTH.search(request)
            if content_length is None:
                writer.write(_NOT_FOUND)
                return
            request += await reader.readexactly(int(content_length[1]))
            await self._relay(request, writer)
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            writer.close()

    async def _relay(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        model_reader, model_writer = await asyncio.open_connection("127.0.0.1", self._model_server_port)
        try:
            model_writer.write(request)
            await model_reader.readuntil(b"\r\n\r\n")
            writer.write(_STREAM_HEAD)
            async for line in model_reader:
                if line.startswith(b"data:"):
                    writer.write(line + b"\n")
                    await writer.drain()
                    if line.startswith(b"data: [DONE]"):
                        return
        finally:
            model_writer.close()


async def main(port: int, model_server_port: int) -> None:
    """Relay until the process is killed."""
    server = await asyncio.start_server(Relay(model_server_port).serve, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
