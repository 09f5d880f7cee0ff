"""The command lines and queries of the guides name what there is."""

import re
from collections import Counter

import pytest

from tests.support.guides import DOCS, Command, commands_of, parameters_of, wrong_options

GUIDES = ("deploy.md", "operations.md", "recovery.md")
COMMANDS = [(guide, command) for guide in GUIDES for command in commands_of(guide)]
SOURCE = "".join(path.read_text() for path in (DOCS.parent / "layers/common/python/order_engine").rglob("*.py"))


def test_the_guides_command_lines_are_found() -> None:
    for guide in GUIDES:
        written = len(re.findall(r"\baws [a-z-]+ [a-z-]+", (DOCS / guide).read_text()))
        assert written == len(commands_of(guide)) > 5


@pytest.mark.parametrize(("guide", "command"), COMMANDS, ids=[f"{guide} {command}" for guide, command in COMMANDS])
def test_a_command_line_is_one_that_aws_has(guide: str, command: Command) -> None:
    assert wrong_options(command) == set()
    if command.options and command.operation != "generate-db-auth-token":
        parameters_of(command, {})


def test_what_is_wrong_is_found() -> None:
    one = Command("sqs", "get-queue-attributes", (("queue-url", "URL"), ("attribute-name", "All")))
    assert wrong_options(one) == {"attribute-name"}
    assert wrong_options(Command("sqs", "receive-message", (("wait-time-seconds", "1"),))) == {"queue-url"}
    with pytest.raises(KeyError):
        wrong_options(Command("sqs", "get-queue-attribute", ()))


def test_the_messages_that_queries_look_for_are_logged() -> None:
    guide = (DOCS / "operations.md").read_text()
    looked_for = Counter(re.findall(r'\bmessage = "([^"]+)"', guide))

    assert len(looked_for) > 2
    assert [message for message in looked_for if f'"{message}"' not in SOURCE] == []
