"""Finds in the engine's source which calls to AWS each function can make, and on which setting's resource.

A function's handler names its use case (`@entrypoint(Bootstrap.executor)`). The use case calls ports
(`self.journal.claim`), and the adapter behind a port calls a client:
`self._dynamodb.update_item(TableName=self._table)`, or `self._dynamodb.update_item(**self._place(page))`, where that
method names the table. All of it is read from the syntax tree, so that no scenario can be forgotten.
"""

import ast
from collections.abc import Iterator
from functools import cache

from tests.template.reading import ROOT

_PACKAGE = ROOT / "layers/common/python/order_engine"

# The adapter behind each port, by the attribute that a use case has it as.
ADAPTERS = {
    "journal": "DynamoJournal",
    "live": "DynamoLiveOrders",
    "subscribers": "DynamoSubscribers",
    "connections": "DynamoConnections",
    "sockets": "GatewaySockets",
    "notify_requests": "LambdaNotifyRequests",
    "queue": "SqsOrderQueue",
    "watchlist": "DynamoWatchlist",
    "chain": "MockChain",
    "_keys": "DynamoKeys",
    "quotas": "DynamoQuotas",
    "pauses": "DynamoPauses",
}
# The setting that an adapter's calls are about, by the attribute that holds it; "" for calls that name none.
SETTINGS = {
    ("DynamoJournal", "_table"): "JOURNAL_TABLE",
    ("DynamoJournal", "_client_order_ids_table"): "CLIENT_ORDER_IDS_TABLE",
    ("DynamoLiveOrders", "_table"): "JOURNAL_TABLE",
    ("DynamoConnections", "_table"): "CONNECTIONS_TABLE",
    ("DynamoSubscribers", "_pages_table"): "SUBSCRIBER_PAGES_TABLE",
    ("DynamoSubscribers", "_journal_table"): "JOURNAL_TABLE",
    ("DynamoWatchlist", "_table"): "WATCH_TABLE",
    ("DynamoWatchlist", "_journal_table"): "JOURNAL_TABLE",
    ("MockChain", "_table"): "CHAIN_TABLE",
    ("DynamoKeys", "_table"): "API_KEYS_TABLE",
    ("DynamoQuotas", "_table"): "API_KEYS_TABLE",
    ("DynamoPauses", "_table"): "WATCH_TABLE",
    ("SqsOrderQueue", "_queue_url"): "ORDERS_QUEUE_URL",
    ("LambdaNotifyRequests", "_function"): "NOTIFY_FUNCTION",
    ("GatewaySockets", ""): "MANAGEMENT_ENDPOINT",
}
# What a function asks of the venues, if not everything.
ASKED = {"watch_market": {"spot"}, "market": {"quote"}}
# Without a table of their own: adapters are built on them.
BASES = {"DynamoBuckets"}
CLIENTS = {"_dynamodb", "_sqs", "_lambda", "_api"}
ACTIONS = {
    "get_item": "dynamodb:GetItem",
    "batch_get_item": "dynamodb:BatchGetItem",
    "query": "dynamodb:Query",
    "put_item": "dynamodb:PutItem",
    "condition_check_item": "dynamodb:ConditionCheckItem",
    "update_item": "dynamodb:UpdateItem",
    "delete_item": "dynamodb:DeleteItem",
    "send_message": "sqs:SendMessage",
    "get_queue_attributes": "sqs:GetQueueAttributes",
    "invoke": "lambda:InvokeFunction",
    "post_to_connection": "execute-api:ManageConnections POST",
    "delete_connection": "execute-api:ManageConnections DELETE",
}
# The parts of a transaction are allowed as the calls that they stand for.
PARTS = {
    "Put": "put_item",
    "Update": "update_item",
    "Delete": "delete_item",
    "ConditionCheck": "condition_check_item",
}

Call = tuple[str, str]  # an action (with the method or index of its resource), the setting that names its resource


@cache
def _classes() -> dict[str, dict[str, ast.FunctionDef]]:
    """The methods of every class of the engine, by class; those of its bases among them."""
    found: dict[str, dict[str, ast.FunctionDef]] = {}
    bases: dict[str, list[str]] = {}
    for path in _PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not any(ast.unparse(base) == "Protocol" for base in node.bases):
                found[node.name] = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
                bases[node.name] = [ast.unparse(base) for base in node.bases]
    for name, own in found.items():
        for base in bases[name]:
            own.update({method: body for method, body in found.get(base, {}).items() if method not in own})
    return found


def _through_self(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Each `self.a.b` as (a, b), and each `self.a` as (a, "")."""
    for part in ast.walk(node):
        match part:
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id="self"), attr=first), attr=second):
                yield first, second
            case ast.Attribute(value=ast.Name(id="self"), attr=first):
                yield first, ""


def _built_for(function: str) -> set[str]:
    """The engine's classes that are built for a function: its handler names a method of `Bootstrap`
    (`@entrypoint(Bootstrap.executor)`), and that method names them, or a part of `Bootstrap` that it uses does; a
    guarded one has the door as well. Empty for a handler that names none."""
    handler = ast.parse((ROOT / "functions" / function / "app.py").read_text())
    methods = {
        node.attr
        for node in ast.walk(handler)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Bootstrap"
    }
    if any(isinstance(node, ast.Name) and node.id == "guarded" for node in ast.walk(handler)):
        methods.add("access")
    bootstrap = _classes()["Bootstrap"]
    return {
        node.id
        for method in _reached(bootstrap, methods)
        for node in ast.walk(bootstrap[method])
        if isinstance(node, ast.Name) and node.id in _classes()
    }


def calls_of(function: str) -> set[Call]:
    """The calls that a function's use case can make."""
    found: set[Call] = set()
    for name in _built_for(function):
        methods = _classes()[name]
        asked_of = ASKED.get(function, set(methods)) if name == "MockVenue" else set(methods)
        for method in (methods[one] for one in _reached(methods, asked_of)):
            for port, asked in _through_self(method):
                if port in ADAPTERS and asked:
                    found |= _calls_in(ADAPTERS[port], asked)
    return found


def _calls_in(adapter: str, method: str) -> set[Call]:
    """The calls of one method of an adapter, by way of its other methods too."""
    methods = _classes()[adapter]
    calls: set[Call] = set()
    for body in (methods[name] for name in _reached(methods, {method})):
        for operation, arguments in _operations_in(body):
            calls |= {(ACTIONS[operation] + _index_in(arguments), one) for one in _settings_of(adapter, arguments)}
    return calls


def _index_in(arguments: ast.AST) -> str:
    """The index that an operation is about, by the name of the constant that has its name."""
    for one in ast.walk(arguments):
        match one:
            case ast.keyword(arg="IndexName", value=ast.Name(id=name)):
                return f" index {name}"
    return ""


def _reached(methods: dict[str, ast.FunctionDef], begin: set[str]) -> set[str]:
    """The methods of a class that some of its methods come to, themselves among them."""
    reached, open_ = set[str](), set(begin)
    while open_:
        name = open_.pop()
        reached.add(name)
        open_ |= {other for other, _ in _through_self(methods[name]) if other in methods} - reached
    return reached


def _operations_in(body: ast.FunctionDef) -> Iterator[tuple[str, ast.AST]]:
    """Each operation that a method has a client do, itself or as part of a transaction, with what it is given."""
    for node in ast.walk(body):
        match node:
            case ast.Call(func=function, args=[*arguments]):
                # Called at once, or handed to a function that calls it, such as `retry_on_conflict`.
                for called in (function, *arguments):
                    if (operation := _operation(called)) and operation != "transact_write_items":
                        yield operation, node
            case ast.Dict(keys=[ast.Constant(value=part)], values=[given]) if part in PARTS:
                yield PARTS[part], given


def _operation(node: ast.AST) -> str | None:
    """The operation that `self.<client>.<operation>` names."""
    match node:
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="self"), attr=client), attr=operation):
            return operation if client in CLIENTS else None
    return None


def _settings_of(adapter: str, arguments: ast.AST) -> set[str]:
    """The settings whose resources an operation's arguments name, by way of the adapter's methods too; all that the
    adapter has where they name none."""
    known = {attribute: setting for (owner, attribute), setting in SETTINGS.items() if owner == adapter}
    named, open_ = set[str](), [arguments]
    while open_:
        found = {attribute for attribute, _ in _through_self(open_.pop())} - named
        named |= found
        open_ += [_classes()[adapter][name] for name in found if name in _classes()[adapter]]
    return {known[attribute] for attribute in named if attribute in known} or set(known.values())


def classes_that_call_aws() -> set[str]:
    """Every class of the engine that has a client of its own and calls it; not those that are only built on."""
    return {
        name
        for name, methods in _classes().items()
        if name not in BASES
        if any(first in CLIENTS and second for method in methods.values() for first, second in _through_self(method))
    }
