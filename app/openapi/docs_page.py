"""The page that displays the OpenAPI document: Swagger UI from a package; nothing is loaded from other servers."""

from importlib.util import find_spec
from pathlib import Path

# The files of Swagger UI that the page loads, and our own script, which starts it.
START = "start.js"
ASSETS = {
    "favicon-32x32.png": "image/png",
    "index.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    START: "text/javascript",
}
# By default, Swagger UI contacts a validation server of its makers; a null `validatorUrl` prevents that.
SCRIPT = """\
const place = document.getElementById("swagger-ui");
SwaggerUIBundle({domNode: place, url: place.dataset.document, deepLinking: true, validatorUrl: null});
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
# Makes the browser enforce that nothing is loaded from elsewhere. Swagger UI needs inline styles.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def read(name: str) -> bytes:
    """The content of one of the files; no code of the package that contains Swagger UI is run."""
    if name == START:
        return SCRIPT.encode()
    spec = find_spec("flask_swagger_ui")
    assert spec is not None, "requirements/runtime.txt names it"
    assert spec.origin is not None
    return (Path(spec.origin).parent / "dist" / name).read_bytes()
