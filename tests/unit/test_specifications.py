"""OpenAPI and AsyncAPI: valid, with right examples, of every route, model, status and code that the code has."""

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from order_engine.domain.errors import FailureCode
from order_engine.domain.events import AttemptError, StatusEvent
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order import OrderTypeName
from order_engine.domain.refusals import FieldError, RequestRefused
from order_engine.domain.summary import OrderSummary
from order_engine.domain.swaps import Quote, Rejection, VenueName
from order_engine.domain.wire import WireModel
from order_engine.entrypoints import problems
from order_engine.entrypoints.socket_messages import Handshake, Ping, Replay, Subscribe, Unsubscribe
from pydantic.alias_generators import to_camel
from samtranslator.yaml_helper import yaml_parse

from tests.support.specifications import (
    Json,
    flat,
    kind_of,
    named,
    operations,
    problems_with,
    refusals,
    resolved,
    schema_names,
    specification,
)

ROOT = Path(__file__).parents[2]
OPENAPI, ASYNCAPI = specification("openapi"), specification("asyncapi")
META_SCHEMA = ROOT / ".node/node_modules/@asyncapi/specs/schemas/3.0.0.json"

# Refusals that no function of ours makes: the gateway's, and those of its stand-in on one machine.
OF_THE_GATEWAY = {
    (403, "FORBIDDEN"),
    (404, "NOT_FOUND"),
    (429, "TOO_MANY_REQUESTS"),
    (502, "INTERNAL_ERROR"),
    (503, "STARTING"),
}
AT_A_HANDSHAKE = {"TOO_MANY_SUBSCRIBERS", "TOO_MANY_STREAMS"}
ON_A_SOCKET = {"UNKNOWN_ACTION"}  # besides those that have a class
ACTIONS = {"Subscribe": Subscribe, "Unsubscribe": Unsubscribe, "Replay": Replay, "Ping": Ping}
BY_STATUS = {event.model_fields["status"].default.value: event for event in get_args(StatusEvent)}
MODELS: dict[str, type[WireModel]] = {
    "OrderSummary": OrderSummary,
    "Quote": Quote,
    "Rejection": Rejection,
    "AttemptError": AttemptError,
    **{f"{status.title()}Event": event for status, event in BY_STATUS.items()},
}


# --- valid ------------------------------------------------------------------------------------------------------------


def test_openapi_is_valid() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(OPENAPI).iter_errors()] == []


def test_asyncapi_is_valid() -> None:
    if not META_SCHEMA.exists():
        pytest.skip("AsyncAPI's own schema is a package of npm's; `make .node/ready` installs it")
    validator = Draft7Validator(json.loads(META_SCHEMA.read_text()))
    assert [error.message for error in validator.iter_errors(ASYNCAPI)] == []


@pytest.mark.parametrize("document", [OPENAPI, ASYNCAPI], ids=["openapi", "asyncapi"])
def test_every_reference_leads_somewhere_and_every_component_is_used(document: Json) -> None:
    references = {node["$ref"] for node in _nodes(document) if "$ref" in node}
    for reference in references:
        assert resolved(document, {"$ref": reference})
    schemas = document["components"]["schemas"]
    assert {name for name in schemas if f"#/components/schemas/{name}" not in references} == set()
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


def test_both_say_the_same_of_what_both_have() -> None:
    ours, theirs = OPENAPI["components"]["schemas"], ASYNCAPI["components"]["schemas"]
    common = set(ours) & set(theirs)

    assert {name for name in common if ours[name] != theirs[name]} == set()
    assert common > set(MODELS) - {"OrderSummary"}
    assert OPENAPI["info"]["version"] == ASYNCAPI["info"]["version"]


def _examples(document: Json) -> Iterator[tuple[Json, object]]:
    """Every schema with an example, wherever one can stand."""
    for node in _nodes(document):
        if "payload" in node and "examples" in node:
            yield from ((node["payload"], one["payload"]) for one in node["examples"])
        elif "schema" in node:
            yield from ((node["schema"], node[name]) for name in ("example",) if name in node)
            yield from ((node["schema"], one["value"]) for one in node.get("examples", {}).values())
        elif isinstance(node.get("examples"), list) and {"type", "allOf", "oneOf", "anyOf"} & set(node):
            yield from ((node, example) for example in node["examples"])


@pytest.mark.parametrize("document", [OPENAPI, ASYNCAPI], ids=["openapi", "asyncapi"])
def test_every_example_is_right(document: Json) -> None:
    examples = [*_examples(document)]

    assert len(examples) > 40
    assert [
        (example, wrong) for schema, example in examples if (wrong := problems_with(document, schema, example))
    ] == []


def test_every_request_and_answer_with_json_has_an_example() -> None:
    for path, method, operation in operations(OPENAPI):
        answers = [resolved(OPENAPI, one) for one in operation["responses"].values()]
        for holder in [operation.get("requestBody", {}), *answers]:
            for kind, content in holder.get("content", {}).items():
                schema = resolved(OPENAPI, content["schema"])
                assert {"example", "examples"} & set(content) or schema in ({"type": "string"}, {"type": "object"}), (
                    path,
                    method,
                    kind,
                )


# --- routes and refusals ----------------------------------------------------------------------------------------------


def test_the_paths_are_the_templates_routes() -> None:
    resources = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
    events = [one for resource in resources.values() for one in resource["Properties"].get("Events", {}).values()]
    routes = {(one["Properties"]["Path"], one["Properties"]["Method"]) for one in events if one["Type"] == "HttpApi"}

    assert {(path, method) for path, method, _ in operations(OPENAPI)} == routes


def test_the_scope_stands_in_the_description_too() -> None:
    for path, _, operation in operations(OPENAPI):
        scopes = [scope for one in operation["security"] for scope in one["bearer"]]
        assert scopes in ([], ["read"], ["trade"])
        assert bool(scopes) == (path.startswith("/api/") and path != "/api/tokens")
        if scopes:
            assert f"scope `{scopes[0]}`" in operation["description"]


def test_the_codes_of_answers_are_those_of_problem_documents() -> None:
    specified = set().union(*(refusals(OPENAPI, operation) for _, _, operation in operations(OPENAPI)))
    made = {(int(status), code) for code, status in problems._STATUS.items() if code not in AT_A_HANDSHAKE}

    assert specified == made | OF_THE_GATEWAY


def test_every_refusals_code_is_told_over_http_at_a_handshake_or_on_a_socket() -> None:
    over_http = {code for _, _, operation in operations(OPENAPI) for _, code in refusals(OPENAPI, operation)}
    at_a_handshake = {code for codes in _handshake().values() for code in codes}
    on_a_socket = {*ASYNCAPI["components"]["schemas"]["Error"]["properties"]["code"]["enum"]}
    classes = {vars(refusal).get("code") for refusal in _subclasses(RequestRefused)} - {None}
    told = over_http | at_a_handshake | on_a_socket

    assert told - {code for _, code in OF_THE_GATEWAY} == (classes | {*problems._STATUS} | ON_A_SOCKET) - {
        code for _, code in OF_THE_GATEWAY
    }
    assert on_a_socket <= classes | {*problems._STATUS} | ON_A_SOCKET
    assert all(f"`{code}`" in ASYNCAPI["components"]["schemas"]["Error"]["description"] for code in on_a_socket)


def test_a_handshake_is_refused_with_the_statuses_of_problem_documents() -> None:
    """But for a wrong query, which is no 422 there."""
    refused = {(status, code) for status, codes in _handshake().items() for code in codes}

    assert refused == {(400 if code == "INVALID_FIELD" else int(problems._STATUS[code]), code) for _, code in refused}
    assert {code for _, code in refused} > AT_A_HANDSHAKE
    assert all(str(status) in ASYNCAPI["channels"]["live"]["description"] for status, _ in refused)


def _handshake() -> dict[int, list[str]]:
    return {int(status): codes for status, codes in ASYNCAPI["channels"]["live"]["x-refusals"].items()}


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [OPENAPI, ASYNCAPI], ids=["openapi", "asyncapi"])
@pytest.mark.parametrize("name", MODELS)
def test_a_schema_is_its_model(document: Json, name: str) -> None:
    if document is ASYNCAPI and name == "OrderSummary":
        assert name not in schema_names(ASYNCAPI)
        return
    model = MODELS[name]
    made = model.model_json_schema(mode="serialization", ref_template="#/$defs/{model}")
    made["properties"].pop("owner", None)  # nobody is shown it
    # What is left out of answers is what may be None.
    always = {
        to_camel(one) for one, field in model.model_fields.items() if one != "owner" and field.default is not None
    }

    schema = named(document, name)
    assert kind_of(document, schema) == kind_of(made, made)
    assert {*flat(document, schema)["required"]} == always


@pytest.mark.parametrize("document", [OPENAPI, ASYNCAPI], ids=["openapi", "asyncapi"])
@pytest.mark.parametrize(
    ("name", "values"),
    [("FailureCode", [*FailureCode]), ("Venue", [*VenueName]), ("OrderStatus", [*OrderStatus])],
)
def test_an_enumeration_has_the_codes_values(document: Json, name: str, values: list[str]) -> None:
    enumeration = document["components"]["schemas"][name]

    assert enumeration["enum"] == values
    if name == "FailureCode":
        assert all(f"`{value}`" in enumeration["description"] for value in values)


def test_the_order_types_are_the_codes() -> None:
    assert OPENAPI["components"]["schemas"]["OrderType"]["enum"] == [*get_args(OrderTypeName)]


def test_every_status_has_its_schema() -> None:
    union = OPENAPI["components"]["schemas"]["StatusEvent"]
    by_status = {status: f"#/components/schemas/{status.title()}Event" for status in OrderStatus}

    assert union["discriminator"]["mapping"] == by_status
    assert [one["$ref"] for one in union["oneOf"]] == [*by_status.values()]
    assert set(by_status) == set(BY_STATUS)


def test_a_wrong_field_is_as_refusals_have_it() -> None:
    schema = OPENAPI["components"]["schemas"]["FieldError"]

    assert [*schema["properties"]] == [field.name for field in fields(FieldError)] == schema["required"]


# --- the socket -------------------------------------------------------------------------------------------------------


def test_the_messages_are_those_that_the_socket_understands_and_sends() -> None:
    messages = ASYNCAPI["components"]["messages"]
    received = [one for name, one in ASYNCAPI["operations"].items() if one["action"] == "receive"]
    sent = {name for one in ASYNCAPI["operations"].values() if one["action"] == "send" for name in _messages_of(one)}
    replies = {name for one in received for name in _messages_of(one["reply"])}

    assert {name for one in received for name in _messages_of(one)} == {name.lower() for name in ACTIONS}
    assert (
        sent
        == {*messages} - {name.lower() for name in ACTIONS}
        == {"subscribed", "unsubscribed", "pong", "error"} | {*OrderStatus}
    )
    assert replies <= sent
    assert {*ASYNCAPI["channels"]["live"]["messages"]} == {*messages}


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_has_the_fields_that_are_read(name: str) -> None:
    schema = ASYNCAPI["components"]["schemas"][name]
    hints = get_type_hints(ACTIONS[name])
    read = {to_camel(field.name): hints[field.name] for field in fields(ACTIONS[name])}
    required = {field for field, hint in read.items() if type(None) not in get_args(hint) and field != "after"}

    assert schema["properties"]["action"] == {"const": name.lower()}
    assert {*schema["properties"]} == {"action", *read}
    assert {*schema["required"]} == {"action", *required}


def test_the_handshake_has_the_parameters_that_are_read() -> None:
    query = ASYNCAPI["channels"]["live"]["bindings"]["ws"]["query"]

    assert [*query["properties"]] == [to_camel(field.name) for field in fields(Handshake)]


def _messages_of(operation: Json) -> list[str]:
    return [one["$ref"].removeprefix("#/channels/live/messages/") for one in operation["messages"]]


# ----------------------------------------------------------------------------------------------------------------------


def _nodes(node: Any) -> Iterator[Json]:
    below: list[Any] = node if isinstance(node, list) else []
    if isinstance(node, dict):
        yield node
        below = [*node.values()]
    for one in below:
        yield from _nodes(one)


def _subclasses(kind: type) -> Iterator[type]:
    below: list[type] = kind.__subclasses__()
    for one in below:
        yield one
        yield from _subclasses(one)
