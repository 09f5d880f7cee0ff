"""Invokes a function in this process, on the running stack, so that `breakpoint()` and debuggers work in it."""

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import boto3

from local.errors import LocalStackError
from local.events import place_orders, with_other_orders
from local.function_host import Context
from local.stack import ROOT, running

_HOUR_MS = 3_600_000  # a debugger has no time limit


def invoke(function: str, event_file: str) -> int:
    """Prints what the handler returns. Raises LocalStackError without a running stack, function or event."""
    stack = running()
    there = sorted(path.parent.name for path in ROOT.glob("functions/*/app.py"))
    if function not in there:
        raise LocalStackError(f"there is no function {function!r}; there are {', '.join(there)}")
    if function in ("migrate", "preflight"):
        raise LocalStackError(f"{function} is CloudFormation's alone; here the schema is applied when the stack starts")
    try:
        text = with_other_orders(Path(event_file).read_text())
        event = json.loads(text)
    except OSError as error:
        raise LocalStackError(f"there is no event {event_file!r}; those of events/ are for this") from error
    except ValueError as error:
        raise LocalStackError(f"{event_file} is not JSON: {error}") from error
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        del os.environ[name]  # nothing but the stack may be called
    os.environ.update(stack.aws)
    logical_name = function.replace("_", " ").title().replace(" ", "")
    name = stack.outputs[f"{logical_name}FunctionName"]
    deployed = boto3.client("lambda").get_function_configuration(FunctionName=name)
    os.environ.update(deployed["Environment"]["Variables"])
    if table := os.environ.get("JOURNAL_TABLE"):
        place_orders(boto3.client("dynamodb"), table, {Path(event_file).stem: text})
    sys.path.insert(0, str(ROOT / "functions" / function))
    deadline = int(time.time() * 1000) + _HOUR_MS
    result = import_module("app").handler(event, Context(function, 512, "", str(uuid4()), deadline))
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0
