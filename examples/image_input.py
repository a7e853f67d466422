"""Send an image to the model, from a file or by URL. If the model does not support images, the request is rejected."""

import base64
import struct
import zlib

import openai
from connection import MODEL, connect

client = connect()


def png(red: int, green: int, blue: int, size: int = 64) -> bytes:
    """A square PNG image of one colour. A real program would read a file instead."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes((red, green, blue)) * size) * size
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def ask(image_url: str) -> None:
    """Ask about an image, given as a data URL or a public URL."""
    response = client.responses.create(
        model=MODEL,
        input=[
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Which colour is this?"},
                    {"type": "input_image", "image_url": image_url, "detail": "low"},
                ],
            }
        ],
        max_output_tokens=40,
    )
    print(response.status, response.output_text)
    assert response.status in {"completed", "incomplete"}


# Invalid images and addresses inside the server's own network are rejected before anything is stored.
for wrong in ("data:image/png;base64,AAAA", "http://127.0.0.1/secret.png"):
    refused = None
    try:
        ask(wrong)
    except openai.BadRequestError as error:
        refused = error.code
        print(f"{wrong}: {refused}")
    assert refused in {"invalid_image_format", "invalid_image_url"}

blind = ""
try:
    ask(f"data:image/png;base64,{base64.b64encode(png(255, 0, 0)).decode()}")
except openai.APIStatusError as error:
    blind = str(error).lower()
if blind:
    # The packaged model supports text only. To use a vision model: MODEL=... python examples/image_input.py
    print(f"the model does not support images: {blind}")
    assert "image" in blind
