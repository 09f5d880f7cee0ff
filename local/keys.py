"""An operator's work with API keys: on the running stack, or on a deployed one by its name."""

import getpass
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from order_engine.adapters.keys import DynamoKeys
from order_engine.domain.access import KEY_ID, ApiKey, StoredKey
from order_engine.domain.errors import ServiceUnavailable

from local.display import say
from local.errors import LocalStackError
from local.gateway import client
from local.stack import Endpoints, running


@dataclass(frozen=True)
class Deployment:
    """Where keys are: the stack that `make run` runs, or one on AWS. `operator` is who works with them."""

    keys: DynamoKeys
    dynamodb: Any
    sockets: Any
    connections_table: str
    operator: str

    @classmethod
    def of(cls, stack: Endpoints) -> "Deployment":
        """A local stack."""
        url, outputs = stack.aws["AWS_ENDPOINT_URL"], stack.outputs
        dynamodb = client("dynamodb", url, stack.aws)
        api = f"{url}/_aws/execute-api/{outputs['WebSocketApiId']}/live"
        sockets = client("apigatewaymanagementapi", api, stack.aws)
        keys = DynamoKeys(dynamodb, outputs["ApiKeysTableName"])
        return cls(keys, dynamodb, sockets, outputs["ConnectionsTableName"], getpass.getuser())

    @classmethod
    def on_aws(cls, stack: str) -> "Deployment":
        """With the credentials and the region that AWS' tools would take. Raises LocalStackError."""
        try:
            described = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
            outputs = {one["OutputKey"]: one["OutputValue"] for one in described["Outputs"]}
            dynamodb = boto3.client("dynamodb")
            api = outputs["WebSocketUrl"].replace("wss://", "https://")
            sockets = boto3.client("apigatewaymanagementapi", endpoint_url=api)
            operator = boto3.client("sts").get_caller_identity()["Arn"]
        except (BotoCoreError, ClientError, KeyError) as error:
            raise LocalStackError(f"the stack {stack} can't be looked up: {error}") from error
        keys = DynamoKeys(dynamodb, outputs["ApiKeysTableName"])
        return cls(keys, dynamodb, sockets, outputs["ConnectionsTableName"], operator)

    def create(self, owner: str, scopes: Iterable[str]) -> ApiKey:
        """Return a new key, whose text is nowhere else. Raises LocalStackError if the owner or a scope is wrong."""
        key = ApiKey.draw()
        try:
            self.keys.create(StoredKey.of(key, owner, scopes, datetime.now(UTC), self.operator))
        except ValueError as error:
            raise LocalStackError(str(error)) from error
        return key

    def revoke(self, key_id: str) -> int:
        """Revoke a key, and close the sockets that were opened with it; return how many. Raises LocalStackError if
        there is no such key."""
        revoked = self.keys.revoke(key_id, datetime.now(UTC), self.operator)
        if revoked is None:
            raise LocalStackError(f"there is no key {key_id}: `list` shows their ids")
        closed = 0
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=self.connections_table, ConsistentRead=True)
        for item in (item for page in pages for item in page["Items"]):
            if item.get("keyId") == {"S": key_id}:
                with suppress(self.sockets.exceptions.GoneException):
                    self.sockets.delete_connection(ConnectionId=item["connectionId"]["S"])
                    closed += 1
        return closed


def work_with_keys(action: str, stack: str | None, owner: str, scopes: str, key_id: str) -> int:
    """Create, list or revoke keys, or rotate the streams' secrets, and print what came of it. Raises
    LocalStackError."""
    try:
        where = Deployment.on_aws(stack) if stack else Deployment.of(running())
        match action:
            case "create" if not owner:
                raise LocalStackError("say whose key it is: --owner NAME")
            case "create":
                say(where.create(owner, [one.strip() for one in scopes.split(",")]).text)
            case "list":
                stored = sorted(where.keys.every(), key=lambda key: key.created_at)
                for key in stored:
                    say(_told(key))
                if not stored:
                    say("there are no keys")
            case "revoke":
                whole = ApiKey.parse(key_id)
                if not (whole or KEY_ID.fullmatch(key_id)):  # which is not repeated: it may be most of a key
                    raise LocalStackError("say which key: its id, the 12 characters after oe_")
                key_id = whole.key_id if whole else key_id
                closed = where.revoke(key_id)
                say(f"revoked; {closed} socket(s) closed")
                say("for 30 s more it may be taken: to close what it opens meanwhile, revoke it again after that")
            case _:
                where.keys.rotate_stream_secrets(datetime.now(UTC))
                say("rotated: tokens are made with the new secret in a minute; the one before is taken until the next")
                say("time; earlier ones are void in 30 s. To void all tokens: rotate, wait a minute, rotate once more")
    except (ServiceUnavailable, BotoCoreError, ClientError) as error:
        raise LocalStackError(str(error)) from error
    return 0


def _told(key: StoredKey) -> str:
    ended = f"  revoked {key.revoked_at:%Y-%m-%d %H:%M} by {key.revoked_by}" if key.revoked_at else ""
    scopes = ",".join(sorted(key.scopes))
    return f"{key.key_id}  {key.owner:<20} {scopes:<10}  {key.created_at:%Y-%m-%d %H:%M} by {key.created_by}{ended}"
