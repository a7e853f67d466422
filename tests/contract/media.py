"""Images and files in `input`: accepted values, and values that are refused before anything is stored."""

import base64
from typing import Any

from tests import documents
from tests.contract.rows import NOT_ECHOED, AcceptedValue, Parameter, WrongValue

URL = "https://example.com/a.png"
PNG = documents.data_url("image/png", documents.image())
PDF = documents.data_url("application/pdf", documents.pdf("Hello"))
IMAGE = {"type": "input_image", "image_url": URL, "detail": "auto"}
FILE = {"type": "input_file", "filename": "a.pdf", "file_data": PDF}
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
PART_PARAM = "input[0].content[0]"
# URLs of hosts that the server must not access on behalf of a client.
PRIVATE_URLS = (
    "http://127.0.0.1/a.png",
    "http://localhost/a.png",
    "http://a.localhost./a.png",
    "http://0/a.png",
    "http://127.1/a.png",
    "http://2130706433/a.png",
    "http://0x7f.0.0.1/a.png",
    "http://0177.0.0.1/a.png",
    "http://①②⑦.⓪.⓪.①/a.png",
    "http:\\\\127.0.0.1\\a.png",
    "http://10.0.0.1/a.png",
    "http://172.16.5.5/a.png",
    "http://192.168.1.1/a.png",
    "http://100.64.0.1/a.png",
    "http://169.254.169.254/latest/meta-data/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://168.63.129.16/metadata",
    "http://0.0.0.0/a.png",
    "http://224.0.0.1/a.png",
    "http://255.255.255.255/a.png",
    "http://[::1]/a.png",
    "http://[::]/a.png",
    "http://[::ffff:127.0.0.1]/a.png",
    "http://[::127.0.0.1]/a.png",
    "http://[64:ff9b::10.0.0.1]/a.png",
    "http://[2002:7f00:1::]/a.png",
    "http://[fe80::1]/a.png",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[ff02::1]/a.png",
)
# URLs that are invalid for other reasons: a description and the URL.
INVALID_URLS = (
    ("another scheme", "file:///etc/passwd"),
    ("ftp", "ftp://example.com/a.png"),
    ("javascript", "javascript:alert(1)"),
    ("no scheme", "example.com/a.png"),
    ("no host", "http://"),
    ("credentials", "https://user:secret@example.com/a.png"),
    ("another port", "http://example.com:6379/a.png"),
    ("a very long URL", "https://example.com/" + "a" * 8192),
    ("an empty URL", ""),
)


def message_with(*parts: Any, role: str = "user") -> list[dict[str, Any]]:
    """Return an input of one message with these parts."""
    return [{"role": role, "content": list(parts)}]


def image(url: Any, **fields: Any) -> list[dict[str, Any]]:
    """Return an input of one message with an image."""
    return message_with(IMAGE | {"image_url": url} | fields)


def file(data: Any, name: str | None = "a.pdf", **fields: Any) -> list[dict[str, Any]]:
    """Return an input of one message with a file."""
    return message_with({"type": "input_file", "file_data": data, "filename": name, **fields})


def encode_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def wrong_images() -> tuple[WrongValue, ...]:
    """Return images that are refused before anything is stored."""
    param = f"{PART_PARAM}.image_url"
    data_url = documents.data_url
    urls = [(f"`{url}`", url, "invalid_image_url") for url in PRIVATE_URLS] + [
        (description, url, "invalid_image_url") for description, url in INVALID_URLS
    ]
    data = [
        ("a data URL that is not base64", "data:image/png;base64,!!!!", "invalid_base64_image"),
        ("truncated base64", PNG[:-3], "invalid_base64_image"),
        ("base64 with spaces", f"{PNG[:40]} {PNG[40:]}", "invalid_base64_image"),
        ("base64 with letters outside its alphabet", "data:image/png;base64,ÄÖÜß", "invalid_base64_image"),
        ("a data URL without base64", "data:image/png,abc", "invalid_base64_image"),
        ("a data URL without a comma", "data:image/png;base64", "invalid_base64_image"),
        ("an SVG", data_url("image/svg+xml", b"<svg/>"), "unsupported_image_media_type"),
        ("a page declared as HTML", data_url("text/html", b"<h1>"), "unsupported_image_media_type"),
        ("no media type", data_url("", documents.image()), "unsupported_image_media_type"),
        ("an empty image", data_url("image/png", b""), "empty_image_file"),
        ("HTML declared as PNG", data_url("image/png", b"<html>"), "invalid_image_format"),
        ("a JPEG declared as PNG", data_url("image/png", documents.image("JPEG")), "invalid_image_format"),
        ("a PDF declared as PNG", data_url("image/png", documents.pdf("x")), "invalid_image_format"),
        ("a truncated PNG", data_url("image/png", documents.image()[:20]), "image_parse_error"),
        ("an empty JPEG", data_url("image/jpeg", b"\xff\xd8\xff" + bytes(50)), "image_parse_error"),
        ("an empty GIF", data_url("image/gif", b"GIF89a"), "image_parse_error"),
        ("an empty WebP", data_url("image/webp", b"RIFF" + bytes(20)), "image_parse_error"),
        (
            "a PNG that declares 10^9 pixels",
            data_url("image/png", documents.png_with_declared_size(40_000, 25_000)),
            "image_too_large",
        ),
        (
            "a PNG that declares 2^62 pixels",
            data_url("image/png", documents.png_with_declared_size(2**31 - 1, 2**31 - 1)),
            "image_too_large",
        ),
        (
            "a WebP that declares 2^28 pixels",
            data_url("image/webp", documents.webp_with_declared_size(2**14, 2**14)),
            "image_too_large",
        ),
    ]
    return (
        *(WrongValue(description, image(value), code, param) for description, value, code in urls + data),
        WrongValue(
            "an image without a source", message_with({"type": "input_image"}), "missing_required_parameter", param
        ),
        WrongValue("null as the source of an image", image(None), "missing_required_parameter", param),
        WrongValue("a number as an image", image(5), "invalid_type", param),
        WrongValue("an internal reference", image({"$content": "0" * 64}), "invalid_type", param),
        WrongValue("an unknown detail of an image", image(URL, detail="huge"), "invalid_value", f"{PART_PARAM}.detail"),
        WrongValue(
            "an image's file_id", image(URL, file_id="file-1"), "unsupported_parameter", f"{PART_PARAM}.file_id"
        ),
        WrongValue(
            "an image in an assistant message",
            message_with(IMAGE, role="assistant"),
            "invalid_value",
            f"{PART_PARAM}.type",
        ),
        WrongValue(
            "an image in a system message", message_with(IMAGE, role="system"), "invalid_value", f"{PART_PARAM}.type"
        ),
        WrongValue("501 images", message_with(*[IMAGE] * 501), "array_above_max_length", "input"),
        WrongValue(
            "a refused image in a tool output",
            [
                CALL,
                {
                    "type": "function_call_output",
                    "call_id": "call_1",
                    "output": [IMAGE | {"image_url": PRIVATE_URLS[0]}],
                },
            ],
            "invalid_image_url",
            "input[1].output[0].image_url",
        ),
    )


def wrong_files() -> tuple[WrongValue, ...]:
    """Return files that are refused before anything is stored."""
    param = f"{PART_PARAM}.file_data"
    data_url = documents.data_url
    word_document = documents.docx("Hello")
    data = [
        ("not base64", "!!!!", "a.pdf"),
        ("a truncated file", PDF[:-3], "a.pdf"),
        ("a file in a data URL without base64", "data:application/pdf,abc", "a.pdf"),
        ("an empty file", "", "a.pdf"),
        ("an empty data URL", data_url("application/pdf", b""), "a.pdf"),
        ("HTML named as PDF", encode_base64(b"<html>"), "a.pdf"),
        ("a PDF named as Word", encode_base64(documents.pdf("x")), "a.docx"),
        ("a Word document declared as PDF", data_url("application/pdf", word_document), "a.pdf"),
        ("an executable", encode_base64(b"MZ\x90\x00"), "a.exe"),
        ("an unsupported type", data_url("video/mp4", b"abc"), "a.pdf"),
        ("an archive without a name", encode_base64(word_document), None),
        ("an archive", encode_base64(word_document), "a.zip"),
        ("binary data named as text", encode_base64(b"\xff\xfe\x00a"), "a.txt"),
        ("a text with NUL", encode_base64(b"a\0b"), "a.csv"),
        ("a text over the limit", encode_base64(b"a" * 1_000_001), "a.txt"),
    ]
    return (
        *(WrongValue(description, file(value, name), "invalid_value", param) for description, value, name in data),
        *(
            WrongValue(
                f"a file URL: {description}",
                message_with({"type": "input_file", "file_url": url}),
                "invalid_value",
                f"{PART_PARAM}.file_url",
            )
            for description, url in (("a private address", PRIVATE_URLS[0]), *INVALID_URLS)
        ),
        WrongValue(
            "a file without a source", message_with({"type": "input_file"}), "missing_required_parameter", param
        ),
        WrongValue("a number as a file", file(5), "invalid_type", param),
        WrongValue("a file's file_id", file(PDF, file_id="file-1"), "unsupported_parameter", f"{PART_PARAM}.file_id"),
        WrongValue(
            "a file with two sources",
            file(PDF, file_url=URL),
            "mutually_exclusive_parameters",
            f"{PART_PARAM}.file_url",
        ),
        WrongValue(
            "an unknown detail of a file", file(PDF, detail="original"), "invalid_value", f"{PART_PARAM}.detail"
        ),
        WrongValue("an empty filename", file(PDF, ""), "string_below_min_length", f"{PART_PARAM}.filename"),
        WrongValue("a filename with a newline", file(PDF, "a\nb.pdf"), "invalid_value", f"{PART_PARAM}.filename"),
        WrongValue(
            "a filename over 255 characters", file(PDF, "a" * 256), "string_above_max_length", f"{PART_PARAM}.filename"
        ),
        WrongValue(
            "a file in an assistant message",
            message_with(FILE, role="assistant"),
            "invalid_value",
            f"{PART_PARAM}.type",
        ),
        WrongValue("51 files", message_with(*[FILE] * 51), "array_above_max_length", "input"),
    )


INPUT_IMAGES = Parameter(
    "input",
    "`input_image` parts of user messages and tool outputs: `image_url`, an http(s) URL or a base64 data URL of a PNG, "
    "JPEG, WebP or GIF; `detail`: `auto`, `low`, `high`, `original`",
    "sent to the model; the model's setting `image_urls` decides whether the worker or the model server opens URLs. "
    "Images in tool outputs are sent in a user message",
    (
        AcceptedValue(image(PNG), NOT_ECHOED),
        *(AcceptedValue(image(URL, detail=detail), NOT_ECHOED) for detail in ("auto", "low", "high", "original")),
        *(
            AcceptedValue(image(documents.data_url(f"image/{kind.lower()}", documents.image(kind))), NOT_ECHOED)
            for kind in ("JPEG", "WEBP", "GIF")
        ),
        AcceptedValue(image(documents.data_url("image/jpg", documents.image("JPEG")), detail=None), NOT_ECHOED),
        AcceptedValue(image("http://93.184.216.34/a.png?x=1#y"), NOT_ECHOED),
        AcceptedValue(image("https://[2606:2800:220:1:248:1893:25c8:1946]/a.png"), NOT_ECHOED),
        AcceptedValue([CALL, {"type": "function_call_output", "call_id": "call_1", "output": [IMAGE]}], NOT_ECHOED),
    ),
    wrong_images(),
    (
        "test_the_images_of_a_chain_reach_the_model_with_their_detail",
        "test_images_in_tool_outputs_reach_the_model_in_user_messages",
        "test_a_worker_that_fetches_image_urls_sends_the_images_as_data_urls",
    ),
    "images",
)
INPUT_FILES = Parameter(
    "input",
    "`input_file` parts of user messages and tool outputs: `file_data` as base64 or a data URL, or `file_url`;"
    " `filename`; `detail`: `auto`, `low`, `high`. PDF, Word, Excel, PowerPoint (2007 and newer), OpenDocument text,"
    " RTF, HTML, and texts in UTF-8",
    "the text of the file is sent to the model with its name; if a file cannot be read, the response fails with "
    "`invalid_prompt`",
    (
        AcceptedValue(file(PDF), NOT_ECHOED),
        AcceptedValue(file(encode_base64(documents.pdf("x")), None, detail="low"), NOT_ECHOED),
        AcceptedValue(file(encode_base64(documents.docx("x")), "a.DOCX"), NOT_ECHOED),
        AcceptedValue(file(encode_base64("ä;ö".encode()), "a.csv"), NOT_ECHOED),
        AcceptedValue(file(encode_base64(b"plain"), None), NOT_ECHOED),
        AcceptedValue(message_with({"type": "input_file", "file_url": "https://example.com/a.pdf"}), NOT_ECHOED),
    ),
    wrong_files(),
    (
        "test_the_text_of_every_kind_of_file_reaches_the_model",
        "test_an_unreadable_file_fails_the_response_with_an_error_that_names_it",
    ),
    "files",
)
