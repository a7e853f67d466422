"""Checks of images and files without decoding them: encoding, type, size and dimensions.

Errors are `errors.InvalidRequest` with the API's error code. Their messages begin with a verb, so that the caller can
put the subject before them. The checks apply to content that clients send and to content that workers download.
"""

import binascii
import io
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image, PngImagePlugin

from core import errors
from core.codes import Code
from core.settings import Settings

# Pillow's limit is disabled, because this module checks dimensions against a setting. The text chunks of PNG files are
# not used, so a small limit is enough for them.
Image.MAX_IMAGE_PIXELS = None
PngImagePlugin.MAX_TEXT_MEMORY = 1024 * 1024

_IMAGE_SIGNATURES = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}
_PILLOW_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF"}
_TYPE_ALIASES = {"image/jpg": "image/jpeg", "application/x-pdf": "application/pdf", "text/rtf": "application/rtf"}
_OFFICE_TYPE_PREFIX = "application/vnd.openxmlformats-officedocument."
PDF = "application/pdf"
HTML = "text/html"
PLAIN = "text/plain"
_ZIP_TYPES = {
    ".docx": _OFFICE_TYPE_PREFIX + "wordprocessingml.document",
    ".xlsx": _OFFICE_TYPE_PREFIX + "spreadsheetml.sheet",
    ".pptx": _OFFICE_TYPE_PREFIX + "presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
}
# The first bytes of the documents from which a separate process extracts the text, by media type.
_DOCUMENT_SIGNATURES = {PDF: b"%PDF-", "application/rtf": b"{\\rtf", HTML: b""} | dict.fromkeys(
    _ZIP_TYPES.values(), b"PK\x03\x04"
)
_DOCUMENT_TYPES = {".pdf": PDF, ".rtf": "application/rtf", ".html": HTML, ".htm": HTML} | _ZIP_TYPES
# Suffixes of text files, which are sent to the model unchanged.
_TEXT_SUFFIX_LIST = """
.txt .text .md .markdown .rst .csv .tsv .json .jsonl .ndjson .yaml .yml .toml .ini .xml .log .tex .srt .vtt .sql
.py .js .ts .jsx .tsx .c .h .cpp .hpp .cs .java .kt .go .rs .rb .php .pl .sh .swift .css .r .lua .diff
"""
_TEXT_SUFFIXES = frozenset(_TEXT_SUFFIX_LIST.split())
_TEXT_TYPES = frozenset(
    f"application/{name}" for name in ("json", "xml", "yaml", "x-yaml", "javascript", "sql", "toml", "x-ndjson", "csv")
)
_UNSPECIFIC_TYPES = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_PDF_SEARCH_BYTES = 1024  # leading bytes that are searched for a PDF's header; PDF readers skip the bytes before it


@dataclass(frozen=True)
class File:
    """A checked file. `text` is the content of a text file, and None if a separate process must extract the text."""

    media_type: str
    data: bytes
    text: str | None = None


def is_data_url(url: str) -> bool:
    """Whether a URL is a data URL, which contains its content."""
    return url[:5].lower() == "data:"


def data_url(media_type: str, data: bytes) -> str:
    """Return the data URL that contains `data`."""
    return f"data:{media_type};base64,{binascii.b2a_base64(data, newline=False).decode()}"


def split_data_url(url: str) -> tuple[str, str] | None:
    """Split a data URL into its media type, in lower case without parameters, and base64 text; None if not base64."""
    head, comma, base64_text = url.partition(",")
    media_type, *parameters = head[5:].lower().split(";")
    if not comma or not parameters or parameters[-1].strip() != "base64":
        return None
    return media_type.strip(), base64_text


def _min_decoded_size(base64_text: str) -> int:
    """Return the smallest number of bytes to which a base64 text can decode; two characters may be padding."""
    return len(base64_text) // 4 * 3 - 2


def decode_image(url: str, settings: Settings) -> tuple[str, bytes]:
    """Decode the image in a data URL; return its media type and content.

    Raises:
        errors.InvalidRequest: it is not an image that models accept.
    """
    url_parts = split_data_url(url)
    if url_parts is None:
        raise errors.InvalidRequest("is not a data URL in base64.", code=Code.INVALID_BASE64_IMAGE)
    media_type, base64_text = url_parts
    media_type = _TYPE_ALIASES.get(media_type, media_type)
    if media_type not in _IMAGE_SIGNATURES:
        raise _image_type_error(media_type)
    if _min_decoded_size(base64_text) > settings.image_limit_bytes:
        raise _image_size_error(settings)
    try:
        data = binascii.a2b_base64(base64_text, strict_mode=True) if base64_text else b""
    except ValueError as error:
        raise errors.InvalidRequest("is not base64.", code=Code.INVALID_BASE64_IMAGE) from error
    if check_image(data, settings) != media_type:
        raise errors.InvalidRequest(
            f"is declared as {media_type} but is something else.", code=Code.INVALID_IMAGE_FORMAT
        )
    return media_type, data


def check_image(data: bytes, settings: Settings) -> str:
    """Check an image by its header; return its media type.

    Raises:
        errors.InvalidRequest: it is not an image that models accept.
    """
    if not data:
        raise errors.InvalidRequest("is empty.", code=Code.EMPTY_IMAGE_FILE)
    if len(data) > settings.image_limit_bytes:
        raise _image_size_error(settings)
    media_type = next((name for name, signature in _IMAGE_SIGNATURES.items() if data.startswith(signature)), None)
    if media_type is None:
        raise errors.InvalidRequest("is not a PNG, JPEG, WebP or GIF image.", code=Code.INVALID_IMAGE_FORMAT)
    try:
        width, height = (
            _webp_dimensions(data)
            if media_type == "image/webp"
            else _image_dimensions(data, _PILLOW_FORMATS[media_type])
        )
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
    return media_type in _UNSPECIFIC_TYPES or _TYPE_ALIASES.get(media_type, media_type) in _IMAGE_SIGNATURES


def _image_type_error(media_type: str) -> errors.InvalidRequest:
    return errors.InvalidRequest(
        f"has the type '{media_type[:100]}'; supported are {', '.join(_IMAGE_SIGNATURES)}.",
        code=Code.UNSUPPORTED_IMAGE_MEDIA_TYPE,
    )


def _image_size_error(settings: Settings) -> errors.InvalidRequest:
    return errors.InvalidRequest(
        f"is larger than the {settings.image_limit_bytes} bytes that are allowed.", code=Code.IMAGE_FILE_TOO_LARGE
    )


def _image_dimensions(data: bytes, pillow_format: str) -> tuple[int, int]:
    with Image.open(io.BytesIO(data), formats=(pillow_format,)) as image:
        return image.size


def _webp_dimensions(data: bytes) -> tuple[int, int]:
    """Return the width and height of a WebP image without Pillow, which would first allocate the entire canvas.

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


def decode_file(text: str, name: str | None, settings: Settings) -> File:
    """Decode the file in a base64 text or a data URL, and check it.

    Raises:
        errors.InvalidRequest: it cannot be decoded, or no text can be read from the file.
    """
    media_type, base64_text = "", text
    if is_data_url(text):
        url_parts = split_data_url(text)
        if url_parts is None:
            raise errors.InvalidRequest("is not a data URL in base64.")
        media_type, base64_text = url_parts
    if _min_decoded_size(base64_text) > settings.file_limit_bytes:
        raise _file_size_error(settings)
    try:
        data = binascii.a2b_base64(base64_text, strict_mode=True) if base64_text else b""
    except ValueError as error:
        raise errors.InvalidRequest("is not base64.") from error
    return check_file(data, media_type, name, settings)


def check_file(data: bytes, media_type: str, name: str | None, settings: Settings) -> File:
    """Check a file by its declared media type, or by its name if the type is not specific.

    Args:
        media_type: the declared type, possibly with parameters; may be empty.
        name: file name, if there is one.

    Raises:
        errors.InvalidRequest: no text can be read from the file.
    """
    if not data:
        raise errors.InvalidRequest("is empty.")
    if len(data) > settings.file_limit_bytes:
        raise _file_size_error(settings)
    file_type = _file_type(media_type.partition(";")[0].strip().lower(), name, data)
    if file_type == PLAIN:
        return File(PLAIN, data, _decode_text(data, settings.file_limit_characters))
    signature = _DOCUMENT_SIGNATURES[file_type]
    if signature not in (data[:_PDF_SEARCH_BYTES] if file_type == PDF else data[: len(signature)]):
        raise errors.InvalidRequest(f"is declared as {file_type} but is something else.")
    return File(file_type, data)


def _file_size_error(settings: Settings) -> errors.InvalidRequest:
    """Return the error for a file that exceeds the size limit."""
    return errors.InvalidRequest(f"is larger than the {settings.file_limit_bytes} bytes that are allowed.")


def _file_type(media_type: str, name: str | None, data: bytes) -> str:
    """Return the type of a file: a type from `_DOCUMENT_SIGNATURES`, or `PLAIN` for text."""
    media_type = _TYPE_ALIASES.get(media_type, media_type)
    suffix = PurePosixPath((name or "").lower()).suffix
    if media_type in _DOCUMENT_SIGNATURES:
        return media_type
    if suffix in _DOCUMENT_TYPES and (media_type in _UNSPECIFIC_TYPES or media_type == PLAIN):
        return _DOCUMENT_TYPES[suffix]
    if media_type.startswith("text/") or media_type in _TEXT_TYPES or media_type.endswith(("+json", "+xml")):
        return PLAIN
    if media_type not in _UNSPECIFIC_TYPES:
        raise errors.InvalidRequest(f"has the type '{media_type[:100]}', which cannot be read.")
    if suffix in _TEXT_SUFFIXES:
        return PLAIN
    if suffix:
        raise errors.InvalidRequest(f"has the type '{suffix[:100]}', which cannot be read.")
    if data.startswith(_DOCUMENT_SIGNATURES[PDF]):
        return PDF
    if data.startswith(b"PK"):
        raise errors.InvalidRequest("needs a filename with a suffix that identifies its type.")
    return PLAIN


def _decode_text(data: bytes, limit: int) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise errors.InvalidRequest("is not UTF-8 text.") from error
    if "\0" in text:
        raise errors.InvalidRequest("is not text: it contains a NUL character.")
    if len(text) > limit:
        raise errors.InvalidRequest(f"has {len(text)} characters; at most {limit} are allowed.")
    return text
