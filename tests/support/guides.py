"""The `aws` command lines of the guides, as botocore has their services, operations and options."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.model import OperationModel, Shape

DOCS = Path(__file__).parents[2] / "docs"
# What the CLI itself takes, and a command that is only its own.
_OF_THE_CLI = {"query", "output"}
_ITS_OWN = {("rds", "generate-db-auth-token"): {"hostname", "port", "username"}}


@dataclass(frozen=True)
class Command:
    """`aws SERVICE OPERATION --option value …`; an option without a value has "". `wait`: its operation is a waiter."""

    service: str
    operation: str
    options: tuple[tuple[str, str], ...]
    waits: bool = False

    def __str__(self) -> str:
        return " ".join(
            [self.service, *(["wait"] if self.waits else []), self.operation, *(name for name, _ in self.options)]
        )


def commands_of(guide: str) -> list[Command]:
    """Those in the shell blocks of a guide, and between backticks in its text."""
    text = (DOCS / guide).read_text()
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    inline = re.findall(r"`(aws [^`]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE))
    return [one for block in (*blocks, *inline) for one in _commands_in(block)]


def _commands_in(block: str) -> Iterator[Command]:
    lexer = shlex.shlex(block.replace("\\\n", " "), posix=True, punctuation_chars="();|&\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    for word in [*lexer, "\n"]:
        if word == "aws" or set(word) <= set("();|&\n"):
            if words:
                yield _command(words)
            words = ["aws"] if word == "aws" else []
        elif words:
            words.append(word)


def _command(words: list[str]) -> Command:
    _, service, *rest = words
    waits = rest[0] == "wait"
    operation, *rest = rest[waits:]
    options: list[tuple[str, str]] = []
    for word in rest:
        if word.startswith("#"):
            break
        if word.startswith("--"):
            options.append((word.removeprefix("--"), ""))
        else:
            name, value = options[-1]
            options[-1] = (name, f"{value} {word}".strip())
    return Command(service, operation, tuple(options), waits)


@cache
def _operations(service: str) -> dict[str, OperationModel]:
    model = botocore.session.get_session().get_service_model(service)
    return {xform_name(name, "-"): model.operation_model(name) for name in model.operation_names}


@cache
def _waiters(service: str) -> dict[str, str]:
    model = botocore.session.get_session().get_waiter_model(service)
    return {xform_name(name, "-"): xform_name(model.get_waiter(name).operation, "-") for name in model.waiter_names}


def _members(command: Command) -> Mapping[str, tuple[str, Shape]]:
    """The parameters of a command's operation, by their options. Raises KeyError if there is no such operation."""
    operation = _waiters(command.service)[command.operation] if command.waits else command.operation
    shape = _operations(command.service)[operation].input_shape
    members = shape.members if shape else {}
    return {xform_name(name, "-"): (name, member) for name, member in members.items()}


def wrong_options(command: Command) -> set[str]:
    """The options that the operation does not have, and those that it needs and that are not given; a command without
    any is only named. Raises botocore's UnknownServiceError, and KeyError for an unknown operation."""
    given = {name for name, _ in command.options} - _OF_THE_CLI
    if own := _ITS_OWN.get((command.service, command.operation)):
        return given ^ own
    members = _members(command)
    switches = {f"no-{option}" for option, (_, shape) in members.items() if shape.type_name == "boolean"}
    operation = None if command.waits else _operations(command.service)[command.operation]
    required = operation.input_shape.required_members if operation and operation.input_shape else []
    needed = {option for option, (name, _) in members.items() if name in required} if given else set()
    switched = {one.removeprefix("no-") if one in switches else one for one in given}
    return (switched - set(members)) | (needed - switched)


def parameters_of(command: Command, replaced: Mapping[str, str]) -> dict[str, Any]:
    """What boto3 takes for a command's options; placeholders in them are replaced, the longest first."""
    members, found = _members(command), dict[str, Any]()
    for option, value in command.options:
        if option in _OF_THE_CLI:
            continue
        for placeholder in sorted(replaced, key=len, reverse=True):
            value = value.replace(placeholder, replaced[placeholder])
        off = option not in members
        name, shape = members[option.removeprefix("no-") if off else option]
        found[name] = not off if shape.type_name == "boolean" else _value(value, shape)
    return found


def _value(text: str, shape: Shape) -> Any:
    match shape.type_name:
        case _ if text.startswith("$"):
            return text  # the shell's
        case "integer" | "long":
            return 1 if text.isupper() else int(text)  # a placeholder that is not replaced, such as N
        case "list":
            return text.split()
        case "structure" if not text.startswith("{"):
            pairs = dict(part.split("=") for part in text.split(","))
            return {name: {"true": True, "false": False}.get(value, value) for name, value in pairs.items()}
        case "structure" | "map":
            return json.loads(text)
    return text
