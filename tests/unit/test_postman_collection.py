"""The Postman collection: a request with tests for every route. That they pass is shown by the running system."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.specifications import Json, operations, specification

DOCS = Path(__file__).parents[2] / "docs"
COLLECTION: Json = json.loads((DOCS / "order-engine.postman_collection.json").read_text())
ENVIRONMENT: Json = json.loads((DOCS / "order-engine.postman_environment.json").read_text())


def requests(items: list[Json]) -> Iterator[Json]:
    for item in items:
        yield from requests(item["item"]) if "item" in item else [item]


def test_every_route_has_a_request() -> None:
    sent = set()
    for item in requests(COLLECTION["item"]):
        path = urlsplit(item["request"]["url"].replace("{{baseUrl}}", "")).path
        sent.add((item["request"]["method"], path))

    routes = {(method, path.replace("{file}", "{asset}")) for path, method, _ in operations(specification("openapi"))}
    assert {(method, re.sub(r"\{(\w+)\}", r"{{\1}}", path)) for method, path in routes} <= sent


def test_every_request_is_tested() -> None:
    for item in requests(COLLECTION["item"]):
        scripts = [one["script"]["exec"] for one in item["event"] if one["listen"] == "test"]
        assert any("pm.test(" in line for lines in scripts for line in lines), item["name"]


def test_every_variable_is_defined() -> None:
    variables = {one["key"] for one in COLLECTION["variable"]}
    used = set(re.findall(r"\{\{(\w+)\}\}", json.dumps(COLLECTION)))

    assert used == variables
    assert {one["key"] for one in ENVIRONMENT["values"]} == {"baseUrl", "key"}
    assert not next(one["value"] for one in ENVIRONMENT["values"] if one["key"] == "key")
