"""The page that displays the OpenAPI document: Swagger UI from a package, without files from other servers."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

SCRIPT_NAME = "start.js"
# The media types of the files that the page loads: files of Swagger UI, and our own script, which starts it.
ASSETS = {
    "favicon-32x32.png": "image/png",
    "index.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    SCRIPT_NAME: "text/javascript",
}
# By default, Swagger UI sends the document to a validation server on the Internet; a null `validatorUrl` prevents this.
SCRIPT_TEXT = """\
const container = document.getElementById("swagger-ui");
SwaggerUIBundle({domNode: container, url: container.dataset.document, deepLinking: true, validatorUrl: null});
"""
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Backburner API</title>
<link rel="icon" type="image/png" href="{icon}">
<link rel="stylesheet" href="{base}">
<link rel="stylesheet" href="{style}">
</head>
<body>
<div id="swagger-ui" data-document="{document}"></div>
<script src="{bundle}"></script>
<script src="{start}"></script>
</body>
</html>
"""
# Makes the browser refuse files from other servers. Swagger UI needs inline styles.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def render(url: Callable[[str], str]) -> bytes:
    """Return the HTML page.

    Args:
        url: returns the URL of a path of this server as the browser sees it.
    """
    html = PAGE.format(
        icon=url("/docs/favicon-32x32.png"),
        base=url("/docs/index.css"),
        style=url("/docs/swagger-ui.css"),
        bundle=url("/docs/swagger-ui-bundle.js"),
        start=url(f"/docs/{SCRIPT_NAME}"),
        document=url("/openapi.json"),
    )
    return html.encode()


def read_asset(name: str) -> bytes:
    """Read a file of the page; the package that contains Swagger UI is not imported."""
    if name == SCRIPT_NAME:
        return SCRIPT_TEXT.encode()
    spec = find_spec("flask_swagger_ui")
    assert spec is not None, "flask_swagger_ui is in requirements/runtime.txt"
    assert spec.origin is not None
    return (Path(spec.origin).parent / "dist" / name).read_bytes()
