"""Server-sent events of a model server: bytes in, the data of each event out."""

from collections.abc import AsyncIterator

from core import errors

# A line longer than this is no event of any model server.
LINE_LIMIT = 8 * 1024 * 1024


async def data_lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The payload of every `data:` line; comments, event names and blank lines are passed over.

    Model servers send one `data:` line an event, so lines are not joined.

    Raises:
        errors.Refused: a line does not end.
    """
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
        if len(rest) > LINE_LIMIT:
            raise errors.Refused("The model server sent a line without an end.")
    if rest.startswith(b"data:"):
        yield rest[5:].strip()
