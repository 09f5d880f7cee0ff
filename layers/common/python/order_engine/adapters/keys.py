"""The API keys in DynamoDB: an item each, by keyId, with owner, scopes, digest (SHA-256 of the key, in hex), createdAt,
createdBy, and revokedAt and revokedBy once it is revoked. The item `stream-secrets` has the secrets of the streams'
tokens, newest first, and madeAt.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from order_engine import limits
from order_engine.adapters.aws import code_of, service_errors
from order_engine.domain.access import Scope, StoredKey, StreamSecrets

_STREAM_SECRETS = "stream-secrets"


class DynamoKeys:
    """Implements `ports.Keys`, and what an operator does with keys. Any method may raise ServiceUnavailable."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def find(self, key_id: str) -> StoredKey | None:
        item = self._read(key_id)
        return _stored(item) if item else None

    def stream_secrets(self) -> StreamSecrets | None:
        item = self._read(_STREAM_SECRETS)
        if not item:
            return None
        made_at = datetime.fromisoformat(item["madeAt"]["S"]) if "madeAt" in item else None
        return StreamSecrets(tuple(one["S"] for one in item["secrets"]["L"]), made_at)

    # --- an operator's ------------------------------------------------------------------------------------------------

    def create(self, key: StoredKey) -> None:
        """Keep a new key, and make the first secrets of the streams if there are none."""
        item = {
            "keyId": {"S": key.key_id},
            "owner": {"S": key.owner},
            "scopes": {"SS": sorted(key.scopes)},
            "digest": {"S": key.digest},
            "createdAt": {"S": key.created_at.isoformat()},
            "createdBy": {"S": key.created_by},
        }
        with service_errors("keys", limits.DYNAMODB):
            self._dynamodb.put_item(TableName=self._table, Item=item)
        if not self.stream_secrets():
            self._put_secrets(StreamSecrets.rotated(key.created_at), "attribute_not_exists(keyId)")

    def every(self) -> Iterator[StoredKey]:
        """Return all keys, revoked ones too."""
        more: dict[str, Any] = {}
        while True:
            with service_errors("keys", limits.DYNAMODB):
                page = self._dynamodb.scan(TableName=self._table, ConsistentRead=True, **more)
            yield from (_stored(item) for item in page["Items"] if "digest" in item)
            if "LastEvaluatedKey" not in page:
                return
            more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def revoke(self, key_id: str, at: datetime, by: str) -> StoredKey | None:
        """Revoke a key, for good, and return it; one that is revoked stays as it is. None if there is none."""
        with service_errors("keys", limits.DYNAMODB):
            try:
                response = self._dynamodb.update_item(
                    TableName=self._table,
                    Key={"keyId": {"S": key_id}},
                    UpdateExpression="SET revokedAt = if_not_exists(revokedAt, :at), "
                    "revokedBy = if_not_exists(revokedBy, :by)",
                    ConditionExpression="attribute_exists(digest)",
                    ExpressionAttributeValues={":at": {"S": at.isoformat()}, ":by": {"S": by}},
                    ReturnValues="ALL_NEW",
                )
            except ClientError as error:
                if code_of(error) != "ConditionalCheckFailedException":
                    raise
                return None
        return _stored(response["Attributes"])

    def rotate_stream_secrets(self, at: datetime) -> None:
        """Make tokens with a new secret from soon on; those of the one before the last are void."""
        self._put_secrets(StreamSecrets.rotated(at, self.stream_secrets()))

    def _put_secrets(self, made: StreamSecrets, condition: str | None = None) -> None:
        item: dict[str, Any] = {
            "keyId": {"S": _STREAM_SECRETS},
            "secrets": {"L": [{"S": one} for one in made.secrets]},
        }
        if made.made_at:
            item["madeAt"] = {"S": made.made_at.isoformat()}
        with service_errors("keys", limits.DYNAMODB):
            try:
                only = {"ConditionExpression": condition} if condition else {}
                self._dynamodb.put_item(TableName=self._table, Item=item, **only)
            except ClientError as error:
                if code_of(error) != "ConditionalCheckFailedException":
                    raise

    def _read(self, key_id: str) -> dict[str, Any]:
        with service_errors("keys", limits.DYNAMODB):
            response = self._dynamodb.get_item(TableName=self._table, Key={"keyId": {"S": key_id}}, ConsistentRead=True)
        item: dict[str, Any] = response.get("Item", {})
        return item


def _stored(item: dict[str, Any]) -> StoredKey:
    revoked = item.get("revokedAt")
    return StoredKey(
        key_id=item["keyId"]["S"],
        owner=item["owner"]["S"],
        scopes=frozenset(Scope(one) for one in item["scopes"]["SS"]),
        digest=item["digest"]["S"],
        created_at=datetime.fromisoformat(item["createdAt"]["S"]),
        created_by=item["createdBy"]["S"],
        revoked_at=datetime.fromisoformat(revoked["S"]) if revoked else None,
        revoked_by=item["revokedBy"]["S"] if revoked else None,
    )
