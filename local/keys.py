"""An operator's work with API keys: on the running stack, or on a deployed one by its name."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from botocore.exceptions import BotoCoreError, ClientError
from order_client.display import say
from order_engine.adapters.keys import DynamoKeys
from order_engine.domain.access import KEY_ID, ApiKey, StoredKey
from order_engine.domain.errors import ServiceUnavailable

from local.deployment import Deployment
from local.errors import LocalStackError


@dataclass(frozen=True)
class KeyRing:
    """The keys of a stack."""

    where: Deployment

    @cached_property
    def keys(self) -> DynamoKeys:
        """Where they are kept."""
        return DynamoKeys(self.where.client("dynamodb"), self.where.outputs["ApiKeysTableName"])

    def create(self, owner: str, scopes: Iterable[str]) -> ApiKey:
        """Return a new key, whose text is nowhere else. Raises LocalStackError if the owner or a scope is wrong."""
        key = ApiKey.draw()
        try:
            self.keys.create(StoredKey.of(key, owner, scopes, datetime.now(UTC), self.where.operator))
        except ValueError as error:
            raise LocalStackError(str(error)) from error
        return key

    def revoke(self, key_id: str) -> int:
        """Revoke a key, and close the sockets that were opened with it; return how many. Raises LocalStackError if
        there is no such key."""
        revoked = self.keys.revoke(key_id, datetime.now(UTC), self.where.operator)
        if revoked is None:
            raise LocalStackError(f"there is no key {key_id}: `list` shows their ids")
        closed = 0
        scan, sockets = self.where.client("dynamodb").get_paginator("scan"), self.where.sockets()
        pages = scan.paginate(TableName=self.where.outputs["ConnectionsTableName"], ConsistentRead=True)
        for item in (item for page in pages for item in page["Items"]):
            if item.get("keyId") == {"S": key_id}:
                with suppress(sockets.exceptions.GoneException):
                    sockets.delete_connection(ConnectionId=item["connectionId"]["S"])
                    closed += 1
        return closed


def work_with_keys(action: str, stack: str | None, owner: str, scopes: str, key_id: str) -> int:
    """Create, list or revoke keys, or rotate the streams' secrets, and print what came of it. Raises
    LocalStackError."""
    try:
        ring = KeyRing(Deployment.named(stack))
        match action:
            case "create" if not owner:
                raise LocalStackError("say whose key it is: --owner NAME")
            case "create":
                say(ring.create(owner, [one.strip() for one in scopes.split(",")]).text)
            case "list":
                stored = sorted(ring.keys.every(), key=lambda key: key.created_at)
                for key in stored:
                    say(_told(key))
                if not stored:
                    say("there are no keys")
            case "revoke":
                whole = ApiKey.parse(key_id)
                if not (whole or KEY_ID.fullmatch(key_id)):  # which is not repeated: it may be most of a key
                    raise LocalStackError("say which key: its id, the 12 characters after oe_")
                key_id = whole.key_id if whole else key_id
                closed = ring.revoke(key_id)
                say(f"revoked; {closed} socket(s) closed")
                say("for 30 s more it may be taken: to close what it opens meanwhile, revoke it again after that")
            case _:
                ring.keys.rotate_stream_secrets(datetime.now(UTC))
                say("rotated: tokens are made with the new secret in a minute; the one before is taken until the next")
                say("time; earlier ones are void in 30 s. To void all tokens: rotate, wait a minute, rotate once more")
    except (ServiceUnavailable, BotoCoreError, ClientError) as error:
        raise LocalStackError(str(error)) from error
    return 0


def _told(key: StoredKey) -> str:
    ended = f"  revoked {key.revoked_at:%Y-%m-%d %H:%M} by {key.revoked_by}" if key.revoked_at else ""
    scopes = ",".join(sorted(key.scopes))
    return f"{key.key_id}  {key.owner:<20} {scopes:<10}  {key.created_at:%Y-%m-%d %H:%M} by {key.created_by}{ended}"
