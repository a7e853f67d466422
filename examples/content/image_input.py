"""Send an image to the model as a data URL; if the model does not support images, the request is rejected."""

import base64
import struct
import zlib

import openai

from examples.connection import MODEL, connect

client = connect()


def create_png(red: int, green: int, blue: int, side_pixels: int = 64) -> bytes:
    """Create a square PNG image of one color. A real program would read a file instead."""

    def encode_chunk(chunk_type: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + chunk_type + data + struct.pack(">I", zlib.crc32(chunk_type + data))

    rows = (b"\0" + bytes((red, green, blue)) * side_pixels) * side_pixels
    header = encode_chunk(b"IHDR", struct.pack(">IIBBBBB", side_pixels, side_pixels, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + encode_chunk(b"IDAT", zlib.compress(rows)) + encode_chunk(b"IEND", b"")


def ask_about_image(image_url: str) -> None:
    """Ask the model about an image at a public URL or in a data URL."""
    response = client.responses.create(
        model=MODEL,
        input=[
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Which color is this?"},
                    {"type": "input_image", "image_url": image_url, "detail": "low"},
                ],
            }
        ],
        max_output_tokens=40,
    )
    print(response.status, response.output_text)
    assert response.status in {"completed", "incomplete"}


# Invalid images, and URLs in the internal network of the server, are rejected before anything is stored.
for invalid_url in ("data:image/png;base64,AAAA", "http://127.0.0.1/secret.png"):
    error_code = None
    try:
        ask_about_image(invalid_url)
    except openai.BadRequestError as error:
        error_code = error.code
        print(f"{invalid_url}: {error_code}")
    assert error_code in {"invalid_image_format", "invalid_image_url"}

error_message = ""
try:
    ask_about_image(f"data:image/png;base64,{base64.b64encode(create_png(255, 0, 0)).decode()}")
except openai.APIStatusError as error:
    error_message = str(error).lower()
if error_message:
    # The packaged model supports text only. To use a vision model: MODEL=... python -m examples.content.image_input
    print(f"the model does not support images: {error_message}")
    assert "image" in error_message
