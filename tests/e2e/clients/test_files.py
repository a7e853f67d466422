"""Images and files on real processes: what reaches the model, and how hostile input fails."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests import documents as made
from tests.conftest import new_database
from tests.contract.media import CALL, encoded
from tests.harness import file_server
from tests.harness.file_server import FileServer, Given
from tests.harness.stack import Stack
from tests.harness.waiting import ended, until
from tests.model_server import ModelServer

PNG = made.image("PNG", (32, 32))
LARGE = made.data_url("image/png", made.noise(60))
MEGABYTE = 1024 * 1024
# One model whose server opens URLs itself, and one for which the worker fetches them.
CONFIG = """
[models.scripted]
base_url = "{url}"
[models.fetching]
base_url = "{url}"
image_urls = "fetch"
"""


@pytest.fixture
def files() -> Iterator[FileServer]:
    with file_server.running() as found:
        yield found


@pytest.fixture(scope="module")
def _fetching(
    postgres_url: str, template: str, _model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("files")
    config = folder / "backburner.toml"
    config.write_text(CONFIG.format(url=_model_server.base_url))
    with Stack(folder / "home", new_database(postgres_url, template), config, _model_server) as stack:
        yield stack.up(FETCH_ALLOW_PRIVATE="1", FETCH_TIMEOUT_S="3", EXTRACT_TIMEOUT_S="10")


@pytest.fixture
def fetching(_fetching: Stack, models: ModelServer) -> Stack:
    """A running stack, shared by the tests of this module, that may fetch private addresses."""
    return _fetching


@pytest.fixture
def config(tmp_path: Path, models: ModelServer) -> Path:
    """The same models, for a test with its own stack."""
    path = tmp_path / "backburner.toml"
    path.write_text(CONFIG.format(url=models.base_url))
    return path


def text(tag: str, **script: Any) -> dict[str, Any]:
    return {"type": "input_text", "text": ModelServer.script(tag=tag, **script)}


def image(url: str, detail: str = "auto") -> dict[str, Any]:
    return {"type": "input_image", "image_url": url, "detail": detail}


def file(content: bytes, name: str) -> dict[str, Any]:
    return {"type": "input_file", "file_data": encoded(content), "filename": name}


def submit(client: openai.OpenAI, *parts: dict[str, Any], model: str = "scripted", **more: Any) -> str:
    message: Any = [{"role": "user", "content": list(parts)}]
    return client.responses.create(model=model, input=message, background=True, **more).id


def messages(stack: Stack, tag: str) -> list[dict[str, Any]]:
    """The messages of the last request that the model server received with this tag."""
    found = until(lambda: stack.models.stats(tag)["by_tag"][tag])
    return list(found[-1]["body"]["messages"])


def sent_image(url: str, detail: str = "auto") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": detail}}


def test_an_image_reaches_the_model_with_its_detail_also_from_earlier_in_a_chain(fetching: Stack) -> None:
    with fetching.client() as client:
        url = "https://example.com/a.png"
        first = submit(client, text("first"), image(LARGE, "high"), image(url, "low"), image(url, "original"))
        assert ended(client, first).status == "completed"
        shown = messages(fetching, "first")[0]["content"]
        second = submit(client, text("second"), previous_response_id=first)
        assert ended(client, second).status == "completed"

    assert shown[0] == {"type": "text", "text": text("first")["text"]}
    assert shown[1:] == [sent_image(LARGE, "high"), sent_image(url, "low"), sent_image(url, "high")]
    again = messages(fetching, "second")
    assert again[0]["content"] == shown
    assert [message["role"] for message in again] == ["user", "assistant", "user"]
    kept = "select count(distinct content_id) from response_contents where response_id = any (%s)"
    assert fetching.sql(kept, [first, second]) == [(1,)]


def test_images_of_tools_follow_their_outputs_as_the_users(fetching: Stack) -> None:
    output = {"type": "function_call_output", "call_id": "call_1", "output": [image(LARGE), text("tool")]}
    with fetching.client() as client:
        sent: Any = [CALL, CALL | {"call_id": "call_2"}, output, output | {"call_id": "call_2", "output": "2"}]
        asked = {"role": "user", "content": [text("asked")]}
        created = client.responses.create(model="scripted", input=[*sent, asked], background=True)
        assert ended(client, created.id).status == "completed"

    shown = messages(fetching, "asked")
    assert [message["role"] for message in shown] == ["assistant", "tool", "tool", "user", "user"]
    assert [message["content"] for message in shown[1:3]] == [text("tool")["text"], "2"]
    assert shown[3]["content"][1] == sent_image(LARGE)


def test_a_worker_that_opens_urls_sends_the_image_itself(fetching: Stack, files: FileServer) -> None:
    files.paths["/a.png"] = Given(PNG, "image/png")
    files.paths["/b"] = Given(made.image("JPEG"), None)
    with fetching.client() as client:
        parts = [image(f"{files.url}/a.png"), image(f"{files.url}/b", "low"), image(f"{files.url}/a.png")]
        assert ended(client, submit(client, text("one"), *parts, model="fetching")).status == "completed"

    a, b = made.data_url("image/png", PNG), made.data_url("image/jpeg", made.image("JPEG"))
    assert messages(fetching, "one")[0]["content"][1:] == [sent_image(a), sent_image(b, "low"), sent_image(a)]
    assert [path for path, _ in files.asked] == ["/a.png", "/b"]


GOOD = {
    "a.pdf": (made.pdf("Hello from page one", "and two"), ["Hello from page one", "and two"]),
    "a.docx": (made.docx("Hello from Word"), ["Hello from Word"]),
    "a.xlsx": (made.xlsx("Hello", "from a cell"), ["Hello", "from a cell"]),
    "a.pptx": (made.pptx("Hello from a slide"), ["Hello from a slide"]),
    "a.html": (b"<html><body><h1>Hello</h1><p>from a page</p></body></html>", ["Hello", "from a page"]),
    "a.rtf": (b"{\\rtf1 Hello from RTF}", ["Hello from RTF"]),
    "a.csv": ("Hello;ä\n1;2\n".encode(), ["Hello;ä\n1;2\n"]),
    "a.md": (b"# Hello\n\n*from* Markdown", ["# Hello\n\n*from* Markdown"]),
    "a.txt": ("\ufeffHello 😀".encode(), ["Hello 😀"]),
    "a.json": (b'{"hello": 1}', ['{"hello": 1}']),
}


def test_the_text_of_every_kind_of_file_reaches_the_model(fetching: Stack, files: FileServer) -> None:
    with fetching.client() as client:
        sent = {}
        for name, (content, _) in GOOD.items():
            sent[name] = submit(client, text(name), file(content, name))
            files.paths[f"/{name}"] = Given(content)
            url = {"type": "input_file", "file_url": f"{files.url}/{name}"}
            sent[f"by URL {name}"] = submit(client, text(f"by URL {name}"), url)
        for response_id in sent.values():
            final = ended(client, response_id, within_s=60)
            assert final.status == "completed", final.error

    for tag in sent:
        name = tag.removeprefix("by URL ")
        shown = messages_with(fetching, f'"tag": "{tag}"')
        assert isinstance(shown, str)
        assert f"[File: {name}]" in shown
        assert all(words in shown for words in GOOD[name][1]), shown


def messages_with(stack: Stack, words: str) -> Any:
    """The content of the only message received by the model server that contains these words."""
    records = [one for found in stack.models.stats()["by_tag"].values() for one in found]
    (content,) = {str(one["body"]["messages"][0]["content"]) for one in records if words in str(one["body"])}
    return content


SPACE = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def word(body: str, before: str = "") -> bytes:
    return made.docx_of(f"{before}<w:document {SPACE}><w:body>{body}</w:body></w:document>")


def hostile() -> dict[str, tuple[bytes, str, str]]:
    """By description: document, file name, and words expected in the error message."""
    return {
        "an encrypted PDF": (made.encrypted_pdf(), "a.pdf", "encrypted"),
        "a PDF cut short": (made.pdf("Hello")[:200], "a.pdf", "cannot be read"),
        "a PDF of noise": (b"%PDF-1.4\n" + bytes(range(256)) * 40, "a.pdf", "cannot be read"),
        "a PDF without pages": (made.pdf(), "a.pdf", ""),
        "a PDF of nothing but pictures": (made.pdf(""), "a.pdf", "no text"),
        "a PDF of 501 pages": (made.pdf(*map(str, range(501))), "a.pdf", "501 pages"),
        "a PDF that unpacks to 64 MB": (made.pdf_bomb(64), "a.pdf", ""),
        "a PDF that unpacks to 600 MB": (made.pdf_bomb(600), "a.pdf", "too much memory"),
        "a PDF that draws 2^20 times": (made.pdf_of_forms(20), "a.pdf", "too"),
        "a PDF that draws 2^40 times": (made.pdf_of_forms(40), "a.pdf", "too"),
        "a Word document of 200 MB": (made.docx("x", **{"a.xml": b"\0" * (200 * MEGABYTE)}), "a.docx", "too large"),
        "a Word document of nothing": (made.packed({"a": b""}), "a.docx", ""),
        "a Word document of 20,000 files": (made.packed({str(n): b"" for n in range(20_000)}), "a.docx", "too large"),
        "a Word document of entities": (word("<w:p><w:r><w:t>&e30;</w:t></w:r></w:p>", made.ENTITY_BOMB), "a.docx", ""),
        "a Word document of endless levels": (word("<w:p>" * 1_000_000), "a.docx", ""),
        "a Word document in a Word document": (
            made.docx("", **{"a.zip": made.packed({"b.zip": made.packed({"c": b"\0" * (8 * MEGABYTE)})})}),
            "a.docx",
            "",
        ),
        "a sheet that is a Word document": (made.docx("Hello"), "a.xlsx", ""),
        "an archive cut short": (made.docx("Hello")[:300], "a.docx", "cannot be read"),
        "a PDF behind an archive's first bytes": (b"PK\x03\x04" + made.pdf("x"), "a.docx", "cannot be read"),
        "a page of endless levels": (b"<div>" * 500_000, "a.html", ""),
        "a page of 2 million characters": (b"<p>" + b"word " * 400_000, "a.html", "1000000 are allowed"),
        "an RTF of endless groups": (b"{\\rtf1" + b"{" * 1_000_000, "a.rtf", ""),
    }


def test_a_file_that_cannot_be_read_fails_the_response_and_is_named(fetching: Stack) -> None:
    found = hostile()
    worker = fetching.children["worker"].pid
    with fetching.client() as client:
        good = submit(client, text("warm"), file(made.pdf("Hello"), "warm.pdf"))
        assert ended(client, good).status == "completed"
        before = memory(worker)
        sent = {what: submit(client, file(content, name)) for what, (content, name, _) in found.items()}
        for what, response_id in sent.items():
            final = ended(client, response_id, within_s=90)
            _, name, words = found[what]
            assert (what, final.status) == (what, "failed")
            assert final.error is not None
            assert (what, final.error.code) == (what, "invalid_prompt")
            assert f"The file '{name}' " in final.error.message
            assert words in final.error.message, (what, final.error.message)
            assert final.output == []
        assert memory(worker) - before < 150 * MEGABYTE
        # The worker continues to work, and no reader process is left.
        assert ended(client, submit(client, text("later"), file(made.pdf("x"), "a.pdf"))).status == "completed"
    assert fetching.models.stats("later")["open"] == 0
    assert children(worker) == []
    # File names chosen by clients must not appear in the log.
    log = fetching.log("worker")
    assert [name for _, name, _ in found.values() if name in log] == []


def test_a_secret_of_the_machine_does_not_get_into_a_text(fetching: Stack) -> None:
    entity = '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    with fetching.client() as client:
        document = word("<w:p><w:r><w:t>before&x;after</w:t></w:r></w:p>", entity)
        final = ended(client, submit(client, text("one"), file(document, "a.docx")))

    assert final.status == "completed"
    assert "root:" not in str(fetching.models.stats()["by_tag"])


def memory(pid: int) -> int:
    """The peak memory use of a process in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def children(pid: int) -> list[str]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for task in tasks for child in task.read_text().split()]


IMAGES = {
    "/gone": (Given(status=404), "failed_to_download_image"),
    "/page": (Given(b"<html>", "text/html"), "unsupported_image_media_type"),
    "/svg": (Given(b"<svg/>", "image/svg+xml"), "unsupported_image_media_type"),
    "/lie": (Given(b"<html>", "image/png"), "invalid_image_format"),
    "/empty": (Given(b"", "image/png"), "empty_image_file"),
    "/cut": (Given(PNG[:20], "image/png"), "image_parse_error"),
    "/bomb": (Given(made.png_that_says(2**31 - 1, 2**31 - 1), "image/png"), "image_too_large"),
    "/webp": (Given(made.webp_that_says(2**14, 2**14), "image/webp"), "image_too_large"),
    "/large": (Given(b"x" * MEGABYTE, "image/png", repeat=30), "image_file_too_large"),
    "/endless": (Given(b"x" * MEGABYTE, "image/png", repeat=500, says_length=False), "image_file_too_large"),
    "/stalls": (Given(PNG, "image/png", stalls=True), "failed_to_download_image"),
    "/loop": (file_server.redirect("/loop"), "failed_to_download_image"),
    "/ftp": (file_server.redirect("ftp://127.0.0.1/a"), "invalid_image_url"),
}


def test_an_image_that_cannot_be_had_fails_the_response_with_the_apis_code(fetching: Stack, files: FileServer) -> None:
    files.paths = {path: given for path, (given, _) in IMAGES.items()}
    worker = fetching.children["worker"].pid
    before = memory(worker)
    with fetching.client() as client:
        sent = {path: submit(client, image(files.url + path), model="fetching") for path in IMAGES}
        for path, response_id in sent.items():
            error = ended(client, response_id, within_s=60).error
            assert error is not None
            assert (path, error.code) == (path, IMAGES[path][1])
            assert files.url + path in error.message
    assert memory(worker) - before < 150 * MEGABYTE
    assert fetching.models.stats()["requests"] == 0


NAMES = ("localtest.invalid", "ip6-localhost", "ip6-loopback")


def test_a_worker_opens_nothing_inside_for_anybody(stack: Stack, files: FileServer) -> None:
    stack.up()
    with stack.client() as client:
        for url in (files.url, f"http://localhost:{files.port}/a", f"http://[::1]:{files.port}/"):
            with pytest.raises(openai.BadRequestError) as caught:
                submit(client, image(url), model="fetching")
            assert caught.value.code == "invalid_image_url"
        # Names that only the system's resolver knows.
        for name in NAMES:
            error = ended(client, submit(client, image(f"http://{name}/a.png"), model="fetching")).error
            assert error is not None
            assert error.code in {"invalid_image_url", "failed_to_download_image"}
    assert files.asked == []
