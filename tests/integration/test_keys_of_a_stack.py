"""An operator works with the keys of a stack on AWS, by its name: DynamoDB and STS are moto's, CloudFormation's answer
is written here as its documentation has it."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from moto import mock_aws
from order_engine.domain.access import ApiKey

from local.errors import LocalStackError
from local.keys import work_with_keys
from tests.support.local_aws import create_table

STACK = "engine"
OTHER = "shop"  # without outputs
OUTPUTS = {
    "ApiKeysTableName": "engine-ApiKeysTable",
    "ConnectionsTableName": "engine-ConnectionsTable",
    "WebSocketUrl": "wss://abc.execute-api.eu-central-1.amazonaws.com/live",
}


class CloudFormation:
    """One stack, deployed."""

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - as in the SDK
        if StackName == OTHER:
            return {"Stacks": [{"StackName": StackName}]}
        if StackName != STACK:
            said = {"Code": "ValidationError", "Message": f"Stack with id {StackName} does not exist"}
            raise ClientError({"Error": said}, "DescribeStacks")
        outputs = [{"OutputKey": name, "OutputValue": value} for name, value in OUTPUTS.items()]
        return {"Stacks": [{"StackName": StackName, "Outputs": outputs}]}


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    clients = boto3.client

    def client(service: str, **options: Any) -> Any:
        return CloudFormation() if service == "cloudformation" else clients(service, **options)

    monkeypatch.setattr(boto3, "client", client)
    with mock_aws():
        dynamodb = clients("dynamodb")
        create_table(dynamodb, OUTPUTS["ApiKeysTableName"], "ApiKeysTable")
        create_table(dynamodb, OUTPUTS["ConnectionsTableName"], "ConnectionsTable")
        yield dynamodb


def told(
    capsys: pytest.CaptureFixture[str], action: str, key_id: str = "", owner: str = "", scopes: str = "read"
) -> str:
    assert work_with_keys(action, STACK, owner, scopes or "read", key_id) == 0
    return capsys.readouterr().out.strip()


def test_a_key_is_made_listed_and_revoked(stack: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "list") == "there are no keys"
    key = ApiKey.parse(told(capsys, "create", owner="acme", scopes="trade, read"))
    assert key
    listed = told(capsys, "list")
    assert (key.key_id in listed, key.text in listed) == (True, False)
    assert "acme" in listed
    assert "arn:aws:sts::" in listed  # who made it
    assert "read,trade" in listed

    assert told(capsys, "revoke", key.key_id).startswith("revoked; 0 socket(s) closed")
    assert " revoked " in told(capsys, "list")


def test_the_streams_secrets_are_rotated(stack: Any, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "create", owner="acme")
    for _ in range(2):
        assert told(capsys, "rotate-streams").startswith("rotated")
    item = stack.get_item(TableName=OUTPUTS["ApiKeysTableName"], Key={"keyId": {"S": "stream-secrets"}})["Item"]
    assert len(item["secrets"]["L"]) == 2


@pytest.mark.parametrize(
    ("action", "key_id", "owner", "said"),
    [
        ("create", "", "", "say whose key it is"),
        ("create", "", "Acme!", "an owner is named by"),
        ("revoke", "", "", "say which key"),
        ("revoke", "oe_abc", "", "say which key"),
        ("revoke", "0123456789ab", "", "there is no key 0123456789ab"),
    ],
)
def test_what_is_wrong_is_said(stack: Any, action: str, key_id: str, owner: str, said: str) -> None:
    with pytest.raises(LocalStackError, match=said):
        work_with_keys(action, STACK, owner, "read", key_id)


def test_a_whole_key_is_revoked_by_its_id_and_not_repeated(stack: Any) -> None:
    key = ApiKey.draw()

    with pytest.raises(LocalStackError) as refused:
        work_with_keys("revoke", STACK, "", "read", key.text)

    assert key.key_id in str(refused.value)
    assert key.secret not in str(refused.value)


def test_a_stack_that_is_not_there_is_named(stack: Any) -> None:
    with pytest.raises(LocalStackError, match="the stack nope can't be looked up"):
        work_with_keys("list", "nope", "", "read", "")


def test_a_stack_that_is_another_one_is_named(stack: Any) -> None:
    with pytest.raises(LocalStackError, match="the stack shop is none of this release's engine: it has no output"):
        work_with_keys("list", OTHER, "", "read", "")


def test_an_endpoint_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost")
    with pytest.raises(LocalStackError, match="the stack engine can't be looked up: Invalid endpoint"):
        work_with_keys("list", STACK, "", "read", "")


def test_what_answers_in_the_place_of_aws_is_no_traceback(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def html(*_: object, **__: object) -> None:
        raise ResponseParserError("invalid XML received")

    monkeypatch.setattr(CloudFormation, "describe_stacks", html)

    with pytest.raises(LocalStackError, match="can't be looked up: invalid XML"):
        work_with_keys("list", STACK, "", "read", "")
