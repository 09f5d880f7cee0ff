"""Finds in the engine's source which calls to AWS each function can make, and on which setting's resource.

A function's use cases call ports (`self.journal.claim`), the adapter behind a port calls a client
(`self._dynamodb.update_item(TableName=self._table)`): both are read from the syntax tree, so that no scenario can be
forgotten.
"""

import ast
from collections.abc import Iterator
from functools import cache

from tests.template.reading import ROOT

_PACKAGE = ROOT / "layers/common/python/order_engine"

# What each function's use case is made of (see `order_engine.engine`).
USE_CASES = {
    "submit": ("Submission",),
    "route_execute": ("Executor", "Publisher", "MockVenue"),
    "dead_letters": ("Executor", "Publisher", "MockVenue"),
    "ws_connect": ("Subscription",),
    "notify": ("CatchUp",),
}
ADAPTERS = {
    "journal": "DynamoJournal",
    "subscribers": "DynamoSubscribers",
    "sockets": "GatewaySockets",
    "catch_ups": "LambdaCatchUps",
    "queue": "SqsOrderQueue",
    "chain": "MockChain",
}
# The setting that an adapter's calls are about, by the attribute that holds it; "" for calls that name none.
SETTINGS = {
    ("DynamoJournal", "_table"): "JOURNAL_TABLE",
    ("DynamoSubscribers", "_table"): "CONNECTIONS_TABLE",
    ("DynamoSubscribers", "_journal_table"): "JOURNAL_TABLE",
    ("MockChain", "_table"): "CHAIN_TABLE",
    ("SqsOrderQueue", "_queue_url"): "ORDERS_QUEUE_URL",
    ("LambdaCatchUps", "_function"): "NOTIFY_FUNCTION",
    ("GatewaySockets", ""): "MANAGEMENT_ENDPOINT",
}
CLIENTS = {"_dynamodb", "_sqs", "_lambda", "_api"}
ACTIONS = {
    "get_item": "dynamodb:GetItem",
    "put_item": "dynamodb:PutItem",
    "update_item": "dynamodb:UpdateItem",
    "delete_item": "dynamodb:DeleteItem",
    "send_message": "sqs:SendMessage",
    "invoke": "lambda:InvokeFunction",
    "post_to_connection": "execute-api:ManageConnections",
}
# The parts of a transaction are allowed as the calls that they stand for.
PARTS = {"Put": "put_item", "Update": "update_item", "Delete": "delete_item"}

Call = tuple[str, str]  # an action, the setting that names its resource


@cache
def _classes() -> dict[str, dict[str, ast.FunctionDef]]:
    """The methods of every class of the engine, by class."""
    found: dict[str, dict[str, ast.FunctionDef]] = {}
    for path in _PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not any(ast.unparse(base) == "Protocol" for base in node.bases):
                found[node.name] = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
    return found


def _through_self(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Each `self.a.b` as (a, b), and each `self.a` as (a, "")."""
    for part in ast.walk(node):
        match part:
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id="self"), attr=first), attr=second):
                yield first, second
            case ast.Attribute(value=ast.Name(id="self"), attr=first):
                yield first, ""


def calls_of(function: str) -> set[Call]:
    """The calls that a function's use case can make."""
    found: set[Call] = set()
    for name in USE_CASES[function]:
        for method in _classes()[name].values():
            for port, asked in _through_self(method):
                if port in ADAPTERS and asked:
                    found |= _calls_in(ADAPTERS[port], asked)
    return found


def _calls_in(adapter: str, method: str) -> set[Call]:
    """The calls of one method of an adapter, by way of its other methods too."""
    methods = _classes()[adapter]
    reached, open_ = set[str](), {method}
    while open_:
        name = open_.pop()
        reached.add(name)
        open_ |= {other for other, _ in _through_self(methods[name]) if other in methods} - reached
    bodies = [methods[name] for name in reached]
    names = {(first, second) for body in bodies for first, second in _through_self(body)}
    operations = {second for first, second in names if first in CLIENTS and second}
    if "transact_write_items" in operations:
        operations.remove("transact_write_items")
        keys = {
            key.value for body in bodies for node in ast.walk(body) if isinstance(node, ast.Dict) for key in node.keys
            if isinstance(key, ast.Constant)
        }  # fmt: skip
        operations |= {call for part, call in PARTS.items() if part in keys}
    calls: set[Call] = set()
    for operation in operations:
        for setting in _settings_of(adapter, bodies, operation):
            calls.add((ACTIONS[operation], setting))
    return calls


def _settings_of(adapter: str, bodies: list[ast.FunctionDef], operation: str) -> set[str]:
    """The settings whose resources an operation is called on: those named in its arguments, else in its method."""
    named: set[str] = set()
    for body in bodies:
        for node in ast.walk(body):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(f".{operation}"):
                named |= {first for first, _ in _through_self(node)}
    known = {attribute: setting for (owner, attribute), setting in SETTINGS.items() if owner == adapter}
    chosen = {known[attribute] for attribute in named if attribute in known}
    return chosen or set(known.values())


def classes_that_call_aws() -> set[str]:
    """Every class of the engine that has a client of its own and calls it."""
    return {
        name
        for name, methods in _classes().items()
        if any(first in CLIENTS and second for method in methods.values() for first, second in _through_self(method))
    }
