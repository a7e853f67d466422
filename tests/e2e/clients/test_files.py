"""Images and files on real processes: the content that reaches the model, and the errors of malicious input."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests import documents
from tests.conftest import new_database
from tests.contract.media import CALL, encode_base64
from tests.harness import file_server
from tests.harness.file_server import FileReply, FileServer
from tests.harness.stack import Stack
from tests.harness.waiting import until, wait_for_end
from tests.model_server import ModelServer

PNG = documents.image("PNG", (32, 32))
LARGE_IMAGE = documents.data_url("image/png", documents.noise(60))
MEGABYTE = 1024 * 1024
# A model with a server that opens image URLs, and a model for which the worker fetches the images.
CONFIG = """
[models.scripted]
base_url = "{url}"
[models.fetching]
base_url = "{url}"
image_urls = "fetch"
"""


@pytest.fixture
def files() -> Iterator[FileServer]:
    with file_server.running() as server:
        yield server


@pytest.fixture(scope="module")
def _fetching_stack(
    postgres_url: str, template: str, _model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("files")
    config = folder / "backburner.toml"
    config.write_text(CONFIG.format(url=_model_server.base_url))
    with Stack(folder / "home", new_database(postgres_url, template), config, _model_server) as stack:
        yield stack.up(FETCH_ALLOW_PRIVATE="1", FETCH_TIMEOUT_S="3", EXTRACT_TIMEOUT_S="10")


@pytest.fixture
def fetching_stack(_fetching_stack: Stack, models: ModelServer) -> Stack:
    """A running stack, shared by the tests of this module, whose worker may fetch from private addresses."""
    return _fetching_stack


@pytest.fixture
def config(tmp_path: Path, models: ModelServer) -> Path:
    """The models of `CONFIG`, for a test with its own stack."""
    path = tmp_path / "backburner.toml"
    path.write_text(CONFIG.format(url=models.base_url))
    return path


def text_part(tag: str, **script: Any) -> dict[str, Any]:
    return {"type": "input_text", "text": ModelServer.script(tag=tag, **script)}


def image_part(url: str, detail: str = "auto") -> dict[str, Any]:
    return {"type": "input_image", "image_url": url, "detail": detail}


def file_part(content: bytes, name: str) -> dict[str, Any]:
    return {"type": "input_file", "file_data": encode_base64(content), "filename": name}


def submit(client: openai.OpenAI, *parts: dict[str, Any], model: str = "scripted", **fields: Any) -> str:
    message: Any = [{"role": "user", "content": list(parts)}]
    return client.responses.create(model=model, input=message, background=True, **fields).id


def messages(stack: Stack, tag: str) -> list[dict[str, Any]]:
    """The messages of the last request that the model server received with this tag."""
    runs = until(lambda: stack.models.stats(tag)["by_tag"][tag])
    return list(runs[-1]["body"]["messages"])


def chat_image(url: str, detail: str = "auto") -> dict[str, Any]:
    """The part of a Chat Completions message that contains an image."""
    return {"type": "image_url", "image_url": {"url": url, "detail": detail}}


def test_the_images_of_a_chain_reach_the_model_with_their_detail(fetching_stack: Stack) -> None:
    with fetching_stack.client() as client:
        url = "https://example.com/a.png"
        first_id = submit(
            client,
            text_part("first"),
            image_part(LARGE_IMAGE, "high"),
            image_part(url, "low"),
            image_part(url, "original"),
        )
        assert wait_for_end(client, first_id).status == "completed"
        content = messages(fetching_stack, "first")[0]["content"]
        second_id = submit(client, text_part("second"), previous_response_id=first_id)
        assert wait_for_end(client, second_id).status == "completed"

    assert content[0] == {"type": "text", "text": text_part("first")["text"]}
    assert content[1:] == [chat_image(LARGE_IMAGE, "high"), chat_image(url, "low"), chat_image(url, "high")]
    chain_messages = messages(fetching_stack, "second")
    assert chain_messages[0]["content"] == content
    assert [message["role"] for message in chain_messages] == ["user", "assistant", "user"]
    query = "select count(distinct content_id) from response_contents where response_id = any (%s)"
    assert fetching_stack.sql(query, [first_id, second_id]) == [(1,)]


def test_images_in_tool_outputs_reach_the_model_in_user_messages(fetching_stack: Stack) -> None:
    output = {
        "type": "function_call_output",
        "call_id": "call_1",
        "output": [image_part(LARGE_IMAGE), text_part("tool")],
    }
    with fetching_stack.client() as client:
        tool_items: Any = [CALL, CALL | {"call_id": "call_2"}, output, output | {"call_id": "call_2", "output": "2"}]
        question = {"role": "user", "content": [text_part("question")]}
        response = client.responses.create(model="scripted", input=[*tool_items, question], background=True)
        assert wait_for_end(client, response.id).status == "completed"

    chat_messages = messages(fetching_stack, "question")
    assert [message["role"] for message in chat_messages] == ["assistant", "tool", "tool", "user", "user"]
    assert [message["content"] for message in chat_messages[1:3]] == [text_part("tool")["text"], "2"]
    assert chat_messages[3]["content"][1] == chat_image(LARGE_IMAGE)


def test_a_worker_that_fetches_image_urls_sends_the_images_as_data_urls(
    fetching_stack: Stack, files: FileServer
) -> None:
    files.replies["/a.png"] = FileReply(PNG, "image/png")
    files.replies["/b"] = FileReply(documents.image("JPEG"), None)
    with fetching_stack.client() as client:
        parts = [
            image_part(f"{files.url}/a.png"),
            image_part(f"{files.url}/b", "low"),
            image_part(f"{files.url}/a.png"),
        ]
        assert wait_for_end(client, submit(client, text_part("one"), *parts, model="fetching")).status == "completed"

    png, jpeg = documents.data_url("image/png", PNG), documents.data_url("image/jpeg", documents.image("JPEG"))
    assert messages(fetching_stack, "one")[0]["content"][1:] == [
        chat_image(png),
        chat_image(jpeg, "low"),
        chat_image(png),
    ]
    assert [path for path, _ in files.request_log] == ["/a.png", "/b"]


# By file name: the content, and texts that the model must receive.
READABLE_FILES = {
    "a.pdf": (documents.pdf("Hello from page one", "and two"), ["Hello from page one", "and two"]),
    "a.docx": (documents.docx("Hello from Word"), ["Hello from Word"]),
    "a.xlsx": (documents.xlsx("Hello", "from a cell"), ["Hello", "from a cell"]),
    "a.pptx": (documents.pptx("Hello from a slide"), ["Hello from a slide"]),
    "a.html": (b"<html><body><h1>Hello</h1><p>from a page</p></body></html>", ["Hello", "from a page"]),
    "a.rtf": (b"{\\rtf1 Hello from RTF}", ["Hello from RTF"]),
    "a.csv": ("Hello;ä\n1;2\n".encode(), ["Hello;ä\n1;2\n"]),
    "a.md": (b"# Hello\n\n*from* Markdown", ["# Hello\n\n*from* Markdown"]),
    "a.txt": ("\ufeffHello 😀".encode(), ["Hello 😀"]),
    "a.json": (b'{"hello": 1}', ['{"hello": 1}']),
}


def test_the_text_of_every_kind_of_file_reaches_the_model(fetching_stack: Stack, files: FileServer) -> None:
    with fetching_stack.client() as client:
        response_ids = {}
        for name, (content, _) in READABLE_FILES.items():
            response_ids[name] = submit(client, text_part(name), file_part(content, name))
            files.replies[f"/{name}"] = FileReply(content)
            url_part = {"type": "input_file", "file_url": f"{files.url}/{name}"}
            response_ids[f"by URL {name}"] = submit(client, text_part(f"by URL {name}"), url_part)
        for response_id in response_ids.values():
            final_response = wait_for_end(client, response_id, timeout_s=60)
            assert final_response.status == "completed", final_response.error

    for tag in response_ids:
        name = tag.removeprefix("by URL ")
        content = message_content(fetching_stack, f'"tag": "{tag}"')
        assert f"[File: {name}]" in content
        assert all(line in content for line in READABLE_FILES[name][1]), content


def message_content(stack: Stack, phrase: str) -> str:
    """The content of the first message of all requests with this phrase; fail if the requests differ."""
    runs = [run for tag_runs in stack.models.stats()["by_tag"].values() for run in tag_runs]
    (content,) = {str(run["body"]["messages"][0]["content"]) for run in runs if phrase in str(run["body"])}
    return content


WORD_NAMESPACE = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def word_document(body: str, prolog: str = "") -> bytes:
    return documents.docx_from_xml(f"{prolog}<w:document {WORD_NAMESPACE}><w:body>{body}</w:body></w:document>")


def malicious_files() -> dict[str, tuple[bytes, str, str]]:
    """Return, by description, the content, the file name, and a phrase that the error message must contain."""
    return {
        "an encrypted PDF": (documents.encrypted_pdf(), "a.pdf", "encrypted"),
        "a PDF cut short": (documents.pdf("Hello")[:200], "a.pdf", "cannot be read"),
        "a PDF of random bytes": (b"%PDF-1.4\n" + bytes(range(256)) * 40, "a.pdf", "cannot be read"),
        "a PDF without pages": (documents.pdf(), "a.pdf", ""),
        "a PDF without text": (documents.pdf(""), "a.pdf", "no text"),
        "a PDF of 501 pages": (documents.pdf(*map(str, range(501))), "a.pdf", "501 pages"),
        "a PDF that unpacks to 64 MB": (documents.pdf_bomb(64), "a.pdf", ""),
        "a PDF that unpacks to 600 MB": (documents.pdf_bomb(600), "a.pdf", "too much memory"),
        "a PDF that draws 2^20 times": (documents.pdf_with_nested_forms(20), "a.pdf", "too"),
        "a PDF that draws 2^40 times": (documents.pdf_with_nested_forms(40), "a.pdf", "too"),
        "a Word document of 200 MB": (
            documents.docx("x", **{"a.xml": b"\0" * (200 * MEGABYTE)}),
            "a.docx",
            "too large",
        ),
        "an archive without a Word document": (documents.zip_archive({"a": b""}), "a.docx", ""),
        "a Word document of 20,000 files": (
            documents.zip_archive({str(n): b"" for n in range(20_000)}),
            "a.docx",
            "too large",
        ),
        "a Word document of entities": (
            word_document("<w:p><w:r><w:t>&e30;</w:t></w:r></w:p>", documents.ENTITY_BOMB),
            "a.docx",
            "",
        ),
        "a Word document of a million levels": (word_document("<w:p>" * 1_000_000), "a.docx", ""),
        "a Word document in a Word document": (
            documents.docx(
                "", **{"a.zip": documents.zip_archive({"b.zip": documents.zip_archive({"c": b"\0" * (8 * MEGABYTE)})})}
            ),
            "a.docx",
            "",
        ),
        "a Word document named as a spreadsheet": (documents.docx("Hello"), "a.xlsx", ""),
        "an archive cut short": (documents.docx("Hello")[:300], "a.docx", "cannot be read"),
        "a PDF behind an archive's first bytes": (b"PK\x03\x04" + documents.pdf("x"), "a.docx", "cannot be read"),
        "a page of 500,000 levels": (b"<div>" * 500_000, "a.html", ""),
        "a page of 2 million characters": (b"<p>" + b"word " * 400_000, "a.html", "1000000 are allowed"),
        "an RTF of a million groups": (b"{\\rtf1" + b"{" * 1_000_000, "a.rtf", ""),
    }


def test_an_unreadable_file_fails_the_response_with_an_error_that_names_it(fetching_stack: Stack) -> None:
    files = malicious_files()
    worker_pid = fetching_stack.children["worker"].pid
    with fetching_stack.client() as client:
        readable_id = submit(client, text_part("warm"), file_part(documents.pdf("Hello"), "warm.pdf"))
        assert wait_for_end(client, readable_id).status == "completed"
        earlier_peak_bytes = peak_memory_bytes(worker_pid)
        response_ids = {
            description: submit(client, file_part(content, name)) for description, (content, name, _) in files.items()
        }
        for description, response_id in response_ids.items():
            final_response = wait_for_end(client, response_id, timeout_s=90)
            _, name, phrase = files[description]
            assert (description, final_response.status) == (description, "failed")
            assert final_response.error is not None
            assert (description, final_response.error.code) == (description, "invalid_prompt")
            assert f"The file '{name}' " in final_response.error.message
            assert phrase in final_response.error.message, (description, final_response.error.message)
            assert final_response.output == []
        assert peak_memory_bytes(worker_pid) - earlier_peak_bytes < 150 * MEGABYTE
        # The worker still reads files, and no reader process remains.
        later_id = submit(client, text_part("later"), file_part(documents.pdf("x"), "a.pdf"))
        assert wait_for_end(client, later_id).status == "completed"
    assert fetching_stack.models.stats("later")["open"] == 0
    assert child_pids(worker_pid) == []
    # File names chosen by clients must not appear in the log.
    log = fetching_stack.log("worker")
    assert [name for _, name, _ in files.values() if name in log] == []


def test_an_external_entity_does_not_read_a_file_of_the_worker(fetching_stack: Stack) -> None:
    entity = '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    with fetching_stack.client() as client:
        document = word_document("<w:p><w:r><w:t>before&x;after</w:t></w:r></w:p>", entity)
        final_response = wait_for_end(client, submit(client, text_part("one"), file_part(document, "a.docx")))

    assert final_response.status == "completed"
    assert "root:" not in str(fetching_stack.models.stats()["by_tag"])


def peak_memory_bytes(pid: int) -> int:
    """The highest memory use of a process so far."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) * 1024


def child_pids(pid: int) -> list[str]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for task in tasks for child in task.read_text().split()]


# By path: the reply of the file server, and the error code of the response.
INVALID_IMAGES = {
    "/gone": (FileReply(status=404), "failed_to_download_image"),
    "/page": (FileReply(b"<html>", "text/html"), "unsupported_image_media_type"),
    "/svg": (FileReply(b"<svg/>", "image/svg+xml"), "unsupported_image_media_type"),
    "/lie": (FileReply(b"<html>", "image/png"), "invalid_image_format"),
    "/empty": (FileReply(b"", "image/png"), "empty_image_file"),
    "/cut": (FileReply(PNG[:20], "image/png"), "image_parse_error"),
    "/bomb": (FileReply(documents.png_with_declared_size(2**31 - 1, 2**31 - 1), "image/png"), "image_too_large"),
    "/webp": (FileReply(documents.webp_with_declared_size(2**14, 2**14), "image/webp"), "image_too_large"),
    "/large": (FileReply(b"x" * MEGABYTE, "image/png", repeat=30), "image_file_too_large"),
    "/endless": (FileReply(b"x" * MEGABYTE, "image/png", repeat=500, sends_length=False), "image_file_too_large"),
    "/stalls": (FileReply(PNG, "image/png", stalls=True), "failed_to_download_image"),
    "/loop": (file_server.redirect("/loop"), "failed_to_download_image"),
    "/ftp": (file_server.redirect("ftp://127.0.0.1/a"), "invalid_image_url"),
}


def test_an_image_that_cannot_be_fetched_fails_the_response_with_the_apis_code(
    fetching_stack: Stack, files: FileServer
) -> None:
    files.replies = {path: reply for path, (reply, _) in INVALID_IMAGES.items()}
    worker_pid = fetching_stack.children["worker"].pid
    earlier_peak_bytes = peak_memory_bytes(worker_pid)
    with fetching_stack.client() as client:
        response_ids = {path: submit(client, image_part(files.url + path), model="fetching") for path in INVALID_IMAGES}
        for path, response_id in response_ids.items():
            error = wait_for_end(client, response_id, timeout_s=60).error
            assert error is not None
            assert (path, error.code) == (path, INVALID_IMAGES[path][1])
            assert files.url + path in error.message
    assert peak_memory_bytes(worker_pid) - earlier_peak_bytes < 150 * MEGABYTE
    assert fetching_stack.models.stats()["requests"] == 0


# Host names that only the resolver of the system can resolve.
LOCAL_HOSTS = ("localtest.invalid", "ip6-localhost", "ip6-loopback")


def test_a_worker_does_not_fetch_urls_of_private_addresses(stack: Stack, files: FileServer) -> None:
    stack.up()
    with stack.client() as client:
        for url in (files.url, f"http://localhost:{files.port}/a", f"http://[::1]:{files.port}/"):
            with pytest.raises(openai.BadRequestError) as caught:
                submit(client, image_part(url), model="fetching")
            assert caught.value.code == "invalid_image_url"
        for host in LOCAL_HOSTS:
            error = wait_for_end(client, submit(client, image_part(f"http://{host}/a.png"), model="fetching")).error
            assert error is not None
            assert error.code == "failed_to_download_image"
            assert "its host is unknown, or is not on the public internet" in error.message
    assert files.request_log == []
