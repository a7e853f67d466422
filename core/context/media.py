"""Checks of images and files that do not decode them: encoding, type, size and dimensions.

Errors are `errors.InvalidRequest` with the API's error code. Their messages begin with a verb, so that the caller can
put the subject before them. The checks apply to content that clients send and to content downloaded for them.
"""

import binascii
import io
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image, PngImagePlugin

from core import errors
from core.codes import Code
from core.settings import Settings

# This module checks dimensions itself, against a setting. Compressed text chunks of PNG files are not used.
Image.MAX_IMAGE_PIXELS = None
PngImagePlugin.MAX_TEXT_MEMORY = 1024 * 1024

_IMAGES = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}
_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF"}
_ALIASES = {"image/jpg": "image/jpeg", "application/x-pdf": "application/pdf", "text/rtf": "application/rtf"}
_OFFICE = "application/vnd.openxmlformats-officedocument."
PDF = "application/pdf"
HTML = "text/html"
PLAIN = "text/plain"
_ZIPPED = {
    ".docx": _OFFICE + "wordprocessingml.document",
    ".xlsx": _OFFICE + "spreadsheetml.sheet",
    ".pptx": _OFFICE + "presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
}
# Documents that a separate process reads, with the first bytes of their content.
_DOCUMENTS = {PDF: b"%PDF-", "application/rtf": b"{\\rtf", HTML: b""} | dict.fromkeys(_ZIPPED.values(), b"PK\x03\x04")
_SUFFIXES = {".pdf": PDF, ".rtf": "application/rtf", ".html": HTML, ".htm": HTML} | _ZIPPED
# Suffixes of files that are shown to the model unchanged.
_NAMES = """
.txt .text .md .markdown .rst .csv .tsv .json .jsonl .ndjson .yaml .yml .toml .ini .xml .log .tex .srt .vtt .sql
.py .js .ts .jsx .tsx .c .h .cpp .hpp .cs .java .kt .go .rs .rb .php .pl .sh .swift .css .r .lua .diff
"""
_TEXTS = frozenset(_NAMES.split())
_TEXT_TYPES = frozenset(
    f"application/{name}" for name in ("json", "xml", "yaml", "x-yaml", "javascript", "sql", "toml", "x-ndjson", "csv")
)
_VAGUE = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_PDF_WITHIN = 1024  # bytes searched for the first line of a PDF: every reader skips what precedes it


@dataclass(frozen=True)
class File:
    """A file whose type is known. `text` is its content, unless a separate process must read it."""

    media_type: str
    data: bytes
    text: str | None = None


def is_data_url(text: str) -> bool:
    """Whether a URL contains its content."""
    return text[:5].lower() == "data:"


def data_url(media_type: str, data: bytes) -> str:
    """The URL that contains the given content."""
    return f"data:{media_type};base64,{binascii.b2a_base64(data, newline=False).decode()}"


def split_data_url(text: str) -> tuple[str, str] | None:
    """A data URL's media type, in lower case and without parameters, and its base64 text; None if it is not base64."""
    head, comma, encoded = text.partition(",")
    media_type, *parameters = head[5:].lower().split(";")
    if not comma or not parameters or parameters[-1].strip() != "base64":
        return None
    return media_type.strip(), encoded


def image_of(text: str, settings: Settings) -> tuple[str, bytes]:
    """The media type and the content of an image in a data URL.

    Raises:
        errors.InvalidRequest: it is not an image that models accept.
    """
    found = split_data_url(text)
    if found is None:
        raise errors.InvalidRequest("is not a data URL in base64.", code=Code.INVALID_BASE64_IMAGE)
    media_type, encoded = found
    media_type = _ALIASES.get(media_type, media_type)
    if media_type not in _IMAGES:
        raise _not_an_image(media_type)
    if len(encoded) // 4 * 3 - 2 > settings.image_limit_bytes:
        raise _image_too_large(settings)
    try:
        data = binascii.a2b_base64(encoded, strict_mode=True) if encoded else b""
    except ValueError as error:
        raise errors.InvalidRequest("is not base64.", code=Code.INVALID_BASE64_IMAGE) from error
    if check_image(data, settings) != media_type:
        raise errors.InvalidRequest(
            f"is declared as {media_type} but is something else.", code=Code.INVALID_IMAGE_FORMAT
        )
    return media_type, data


def check_image(data: bytes, settings: Settings) -> str:
    """Check an image by its header alone; return its media type.

    Raises:
        errors.InvalidRequest: it is not an image that models accept.
    """
    if not data:
        raise errors.InvalidRequest("is empty.", code=Code.EMPTY_IMAGE_FILE)
    if len(data) > settings.image_limit_bytes:
        raise _image_too_large(settings)
    media_type = next((kind for kind, magic in _IMAGES.items() if data.startswith(magic)), None)
    if media_type is None:
        raise errors.InvalidRequest("is not a PNG, JPEG, WebP or GIF image.", code=Code.INVALID_IMAGE_FORMAT)
    try:
        width, height = _webp_size(data) if media_type == "image/webp" else _size(data, _FORMATS[media_type])
    except Exception as error:  # malformed data can raise any exception in the parser
        raise errors.InvalidRequest("cannot be read as an image.", code=Code.IMAGE_PARSE_ERROR) from error
    if width * height > settings.image_limit_pixels:
        raise errors.InvalidRequest(
            f"has {width} x {height} pixels; at most {settings.image_limit_pixels} are allowed.",
            code=Code.IMAGE_TOO_LARGE,
        )
    return media_type


def is_image_type(media_type: str) -> bool:
    """Whether a download with this media type may be an image that models accept."""
    return media_type in _VAGUE or _ALIASES.get(media_type, media_type) in _IMAGES


def _not_an_image(media_type: str) -> errors.InvalidRequest:
    return errors.InvalidRequest(
        f"has the type '{media_type[:100]}'; supported are {', '.join(_IMAGES)}.",
        code=Code.UNSUPPORTED_IMAGE_MEDIA_TYPE,
    )


def _image_too_large(settings: Settings) -> errors.InvalidRequest:
    return errors.InvalidRequest(
        f"is larger than the {settings.image_limit_bytes} bytes that are allowed.", code=Code.IMAGE_FILE_TOO_LARGE
    )


def _size(data: bytes, name: str) -> tuple[int, int]:
    with Image.open(io.BytesIO(data), formats=(name,)) as image:
        return image.size


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height of a WebP image. Pillow would allocate the entire canvas before it reports the size.

    Source: RFC 9649.
    """
    if data[8:12] != b"WEBP":
        raise ValueError("not a WebP")
    chunk, head = data[12:16], data[20:30]
    if len(head) < 10:
        raise ValueError("truncated")
    if chunk == b"VP8X":
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    if chunk == b"VP8L" and head[0] == 0x2F:
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 " and head[3:6] == b"\x9d\x01\x2a":
        return int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF
    raise ValueError("contains no image")


def file_of(encoded: str, name: str | None, settings: Settings) -> File:
    """The file in a base64 text or a data URL.

    Raises:
        errors.InvalidRequest: it cannot be decoded, or is not a file whose text can be read.
    """
    media_type = ""
    if is_data_url(encoded):
        found = split_data_url(encoded)
        if found is None:
            raise errors.InvalidRequest("is not a data URL in base64.")
        media_type, encoded = found
    if len(encoded) // 4 * 3 - 2 > settings.file_limit_bytes:
        raise file_too_large(settings)
    try:
        data = binascii.a2b_base64(encoded, strict_mode=True) if encoded else b""
    except ValueError as error:
        raise errors.InvalidRequest("is not base64.") from error
    return check_file(data, media_type, name, settings)


def check_file(data: bytes, media_type: str, name: str | None, settings: Settings) -> File:
    """Check a file by its declared media type, or by its name if the type says too little.

    Args:
        media_type: as declared, possibly with parameters; may be empty.
        name: file name, if there is one.

    Raises:
        errors.InvalidRequest: it is not a file whose text can be read.
    """
    if not data:
        raise errors.InvalidRequest("is empty.")
    if len(data) > settings.file_limit_bytes:
        raise file_too_large(settings)
    found = _type_of(media_type.partition(";")[0].strip().lower(), name, data)
    if found == PLAIN:
        return File(PLAIN, data, _text(data, settings.file_limit_characters))
    magic = _DOCUMENTS[found]
    if magic not in (data[:_PDF_WITHIN] if found == PDF else data[: len(magic)]):
        raise errors.InvalidRequest(f"is declared as {found} but is something else.")
    return File(found, data)


def file_too_large(settings: Settings) -> errors.InvalidRequest:
    """The error for a file that exceeds the size limit."""
    return errors.InvalidRequest(f"is larger than the {settings.file_limit_bytes} bytes that are allowed.")


def _type_of(declared: str, name: str | None, data: bytes) -> str:
    declared = _ALIASES.get(declared, declared)
    suffix = PurePosixPath((name or "").lower()).suffix
    if declared in _DOCUMENTS:
        return declared
    if suffix in _SUFFIXES and (declared in _VAGUE or declared == PLAIN):
        return _SUFFIXES[suffix]
    if declared.startswith("text/") or declared in _TEXT_TYPES or declared.endswith(("+json", "+xml")):
        return PLAIN
    if declared not in _VAGUE:
        raise errors.InvalidRequest(f"has the type '{declared[:100]}', which cannot be read.")
    if suffix in _TEXTS:
        return PLAIN
    if suffix:
        raise errors.InvalidRequest(f"has the type '{suffix[:100]}', which cannot be read.")
    if data.startswith(_DOCUMENTS[PDF]):
        return PDF
    if data.startswith(b"PK"):
        raise errors.InvalidRequest("needs a filename with a suffix that identifies its type.")
    return PLAIN


def _text(data: bytes, limit: int) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise errors.InvalidRequest("is not UTF-8 text.") from error
    if "\0" in text:
        raise errors.InvalidRequest("is not text: it contains a NUL character.")
    if len(text) > limit:
        raise errors.InvalidRequest(f"has {len(text)} characters; at most {limit} are allowed.")
    return text
