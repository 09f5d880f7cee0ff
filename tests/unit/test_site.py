"""What the function `site` serves: its files alone, compressed where that helps, and revalidated by their tags."""

import base64
import gzip
import json
import re
from typing import Any

import pytest

from functions.site.app import Site, handler
from local.stack import ROOT
from tests.support.builders import LambdaContext

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

FILES = ROOT / "functions/site/files"
PAGE = {"index.html", "style.css", "icon.svg"} | {
    f"{name}.js" for name in ["api", "card", "chart", "dom", "form", "history", "main", "orders", "prices", "stream"]
}


def get(path: str, **headers: str) -> dict[str, Any]:
    """The function's response; a header's underscores stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return handler({"rawPath": path, "headers": named}, LambdaContext())


def text(response: dict[str, Any]) -> str:
    if response["isBase64Encoded"]:
        return gzip.decompress(base64.b64decode(response["body"])).decode()
    body: str = response["body"]
    return body


@pytest.mark.parametrize(
    ("path", "kind", "begins"),
    [
        ("/", "text/html; charset=utf-8", "<!doctype html>"),
        ("/docs", "text/html; charset=utf-8", "<!doctype html>"),
        ("/openapi.json", "application/json", "{"),
        ("/asyncapi.json", "application/json", "{"),
        ("/assets/style.css", "text/css; charset=utf-8", ":root"),
        ("/assets/main.js", "text/javascript; charset=utf-8", "//"),
        ("/assets/icon.svg", "image/svg+xml", "<svg"),
        ("/assets/swagger-ui-bundle.js", "text/javascript; charset=utf-8", "/*"),
        ("/assets/swagger-ui.css", "text/css; charset=utf-8", ".swagger-ui"),
    ],
)
def test_a_file_is_served_plain_or_compressed_with_the_same_content(path: str, kind: str, begins: str) -> None:
    plain, compressed = get(path), get(path, accept_encoding="br;q=1.0, gzip;q=0.8, *;q=0.1")

    assert (plain["statusCode"], plain["headers"]["Content-Type"]) == (200, kind)
    assert plain["body"].startswith(begins)
    assert "Content-Encoding" not in plain["headers"]
    assert compressed["headers"]["Content-Encoding"] == "gzip"
    assert text(compressed) == plain["body"]
    assert len(compressed["body"]) * 3 / 4 < len(plain["body"].encode())


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0", "gzip; q=0.000", "identity"])
def test_what_takes_no_gzip_gets_none(accepted: str) -> None:
    assert get("/", accept_encoding=accepted)["isBase64Encoded"] is False


def test_a_copy_that_is_still_good_is_not_sent_again() -> None:
    first = get("/", accept_encoding="gzip")
    tag = first["headers"]["ETag"]

    for condition in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        response = get("/", if_none_match=condition)
        assert (response["statusCode"], response["headers"]["ETag"]) == (304, tag)
        assert "body" not in response
    assert get("/", if_none_match='"other"')["statusCode"] == 200
    assert get("/docs")["headers"]["ETag"] != tag


def test_nothing_else_is_served() -> None:
    for path in (
        "/assets/app.py",
        "/assets/../app.py",
        "/assets/index.html",
        "/assets/",
        "/assets/swagger-ui.js",
        "//",
    ):
        response = get(path)
        assert (response["statusCode"], json.loads(response["body"])["code"]) == (404, "NOT_FOUND")
        assert response["headers"]["Content-Type"] == "application/problem+json"


def test_pages_load_from_their_own_origin_alone() -> None:
    for path in ("/", "/docs", "/assets/main.js"):
        headers = get(path)["headers"]
        policy = dict(one.strip().split(" ", 1) for one in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'self'"
        assert policy["connect-src"] == "'self' ws: wss:"
        assert "script-src" not in policy
        assert ("style-src" in policy) == (path == "/docs")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-cache"


def test_every_file_in_the_folder_is_served_and_none_is_missing() -> None:
    ours = {file.name for path, file in Site().files.items() if "swagger-ui" not in path}

    assert ours == {file.name for file in FILES.iterdir()}


@pytest.mark.parametrize("page", ["index.html", "docs.html"])
def test_a_page_asks_for_nothing_that_is_not_served(page: str) -> None:
    document = (FILES / page).read_text()
    asked = set(re.findall(r'(?:src|href)="([^"#]+)', document))
    modules = {
        f"/assets/{name}" for file in FILES.glob("*.js") for name in re.findall(r'from "\./([^"]+)', file.read_text())
    }

    assert asked | modules <= {*Site().files}
    assert not re.search(r"<style|style=| on\w+=|<script>", document)


def test_the_page_is_light_and_shows_data_as_text() -> None:
    assert sum((FILES / name).stat().st_size for name in PAGE) < 80_000
    for file in FILES.glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", file.read_text()), file
