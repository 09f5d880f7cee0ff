"""The two specifications as the function `site` serves them, and JSON Schema over them."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

FILES = Path(__file__).parents[2] / "functions/site/files"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

Json = dict[str, Any]


@cache
def specification(name: str) -> Json:
    """`openapi` or `asyncapi`."""
    document: Json = json.loads((FILES / f"{name}.json").read_text())
    return document


def schema_names(document: Json) -> list[str]:
    return [*document["components"]["schemas"]]


def named(document: Json, name: str) -> Json:
    """The component schema of a name, as a reference."""
    assert name in document["components"]["schemas"]
    return {"$ref": f"#/components/schemas/{name}"}


def problems_with(document: Json, schema: Json, value: object) -> list[str]:
    """What is wrong with a value, by a schema that stands in the document; formats count."""
    registry = Registry().with_resource("document", DRAFT202012.create_resource(document))
    validator = Draft202012Validator(
        _absolute(schema), registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(value)]


def problems_with_answer(document: Json, schema: Json, value: object) -> list[str]:
    """As `problems_with`; that a field is not in the schema is wrong too."""
    return [
        *problems_with(document, schema, value),
        *(f"{name} is not specified" for name in _strange(document, schema, value)),
    ]


def resolved(document: Json, node: Json) -> Json:
    """What a reference inside the document refers to; anything else itself."""
    while "$ref" in node:
        target: Any = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def flat(document: Json, schema: Json) -> Json:
    """The schema with its references and what it has by allOf merged: `properties`, `required`, and the rest."""
    schema = resolved(document, schema)
    whole = {name: value for name, value in schema.items() if name != "allOf"}
    for part in (flat(document, part) for part in schema.get("allOf", []) if "if" not in part):
        properties = {**whole.get("properties", {}), **part.get("properties", {})}
        required = [*whole.get("required", []), *part.get("required", [])]
        whole = {**part, **whole, "properties": properties, "required": required}
    return whole


def kind_of(document: Json, schema: Json) -> Any:
    """The type of a value in a form in which two schemas can be compared: `string`, `string date-time`, the values of
    an enumeration, or of an object the types of its properties. That it may be null is left out."""
    schema = flat(document, schema)
    alternatives = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if len(alternatives) == 1:
        return kind_of(document, alternatives[0])
    if "const" in schema:
        return [schema["const"]]
    if "enum" in schema:
        return sorted(schema["enum"])
    if "properties" in schema:
        return {name: kind_of(document, one) for name, one in schema["properties"].items()}
    if schema.get("type") == "array":
        return "array", kind_of(document, schema["items"])
    return " ".join(filter(None, (schema.get("type"), schema.get("format"))))


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    """The path, the method in upper case and the operation of every route of an OpenAPI document."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method.upper(), item[method]


def refusals(document: Json, operation: Json) -> set[tuple[int, str]]:
    """The statuses and codes with which an operation is refused by a problem document."""
    found = set()
    for status, response in operation["responses"].items():
        content = resolved(document, response).get("content", {})
        if "application/problem+json" in content:
            schema = flat(document, content["application/problem+json"]["schema"])
            found |= {(int(status), code) for code in schema["properties"]["code"]["enum"]}
    return found


def _strange(document: Json, schema: Json, value: Any) -> Iterator[str]:
    schema = flat(document, schema)
    if isinstance(value, list):
        for one in value:
            yield from _strange(document, schema["items"], one)
    elif isinstance(value, dict):
        if union := schema.get("discriminator"):
            schema = flat(document, {"$ref": union["mapping"][value[union["propertyName"]]]})
        for name, one in value.items():
            if name in schema.get("properties", {}):
                yield from _strange(document, schema["properties"][name], one)
            else:
                yield name


def _absolute(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            name: f"document{value}" if name == "$ref" and value.startswith("#") else _absolute(value)
            for name, value in node.items()
        }
    return [_absolute(one) for one in node] if isinstance(node, list) else node
