"""GET /, /docs, /openapi.json, /asyncapi.json and /assets/{file}: the page, the documentation, and what they load."""

import gzip
from base64 import b64encode
from functools import cached_property
from hashlib import sha256
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from order_engine.domain.refusals import InvalidRequest
from order_engine.entrypoints.door import headers_of
from order_engine.entrypoints.handler import entrypoint
from order_engine.entrypoints.problems import problem_response

_FOLDER = Path(__file__).parent / "files"
_PAGES = {"/": "index.html", "/docs": "docs.html", "/openapi.json": "openapi.json", "/asyncapi.json": "asyncapi.json"}
_ASSETS = (
    *("style.css", "icon.svg", "main.js", "api.js", "card.js", "chart.js", "dom.js", "form.js", "history.js"),
    *("orders.js", "prices.js", "stream.js", "docs.css", "docs.js"),
)
_SWAGGER = ("swagger-ui-bundle.js", "swagger-ui.css")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
_POLICY = "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# Swagger UI sets style attributes, and has its icons in its styles.
_DOCS_POLICY = f"{_POLICY}; style-src 'self' 'unsafe-inline'; img-src 'self' data:"


class Body(NamedTuple):
    """A file as it is sent: plain, and compressed where that makes it smaller."""

    plain: str
    compressed: str | None  # gzip, in base64
    tag: str

    @classmethod
    def read(cls, file: Path) -> "Body":
        """Read a file of text. Raises OSError if it is not there."""
        content = file.read_bytes()
        packed = gzip.compress(content, mtime=0)
        compressed = b64encode(packed).decode() if len(packed) < len(content) else None
        # Weak: one tag for the plain and the compressed form.
        return cls(content.decode(), compressed, f'W/"{sha256(content).hexdigest()[:20]}"')


class Site:
    """What is served, by path. Each file is read once, when it is first asked for."""

    def __init__(self) -> None:
        self._bodies: dict[str, Body] = {}

    @cached_property
    def files(self) -> dict[str, Path]:
        """Where each path's file is. Nothing else is served."""
        # Found, not imported: the import would load a template engine.
        package = find_spec("swagger_ui")
        folders = (package and package.submodule_search_locations) or []
        swagger = {f"/assets/{name}": Path(folder) / "static" / name for folder in folders for name in _SWAGGER}
        own = {f"/assets/{name}": _FOLDER / name for name in _ASSETS}
        return {**{path: _FOLDER / name for path, name in _PAGES.items()}, **own, **swagger}

    def body(self, path: str) -> Body | None:
        """Return what is at a path, or None."""
        if path not in self._bodies and path in self.files:
            self._bodies[path] = Body.read(self.files[path])
        return self._bodies.get(path)


@entrypoint(lambda _: Site())
def handler(site: Site, event: dict[str, Any], _context: object) -> dict[str, Any]:
    """API Gateway HTTP API, payload format 2.0. Returns 200, 304, or a problem document (RFC 9457) with 404."""
    path, given = event["rawPath"], headers_of(event)
    body = site.body(path)
    if body is None:
        unknown = InvalidRequest("NOT_FOUND", "there is no such page or asset")
        return problem_response(unknown, HTTPStatus.NOT_FOUND)
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": _DOCS_POLICY if path == "/docs" else _POLICY,
        "ETag": body.tag,
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    if _matches(given.get("if-none-match", ""), body.tag):
        return {"statusCode": int(HTTPStatus.NOT_MODIFIED), "headers": headers}
    compressed = body.compressed if _takes_gzip(given.get("accept-encoding", "")) else None
    headers["Content-Type"] = _TYPES[site.files[path].suffix]
    if compressed:
        headers["Content-Encoding"] = "gzip"
    shown = {"body": compressed or body.plain, "isBase64Encoded": bool(compressed)}
    return {"statusCode": int(HTTPStatus.OK), "headers": headers, **shown}


def _matches(condition: str, tag: str) -> bool:
    """Whether If-None-Match names the tag, by weak comparison."""
    tags = [one.strip().removeprefix("W/") for one in condition.split(",")]
    return "*" in tags or tag.removeprefix("W/") in tags


def _takes_gzip(accepted: str) -> bool:
    """Whether Accept-Encoding has gzip, with a weight above 0."""
    for coding in accepted.lower().split(","):
        name, _, weight = (part.strip() for part in coding.partition(";"))
        if name in ("gzip", "x-gzip"):
            return weight.replace(" ", "").rstrip("0").rstrip(".") not in ("q=", "q=0")
    return False
