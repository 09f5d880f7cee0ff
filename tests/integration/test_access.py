"""The door over the keys in DynamoDB: who is let in, what it costs, and how soon a change takes effect."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from order_engine.adapters.keys import DynamoKeys
from order_engine.domain.access import PUBLIC, ApiKey, Scope, StoredKey
from order_engine.domain.errors import ServiceUnavailable
from order_engine.domain.refusals import MissingScope, RequestRefused, Unauthorized
from order_engine.use_cases.access import CACHE_SECONDS, TOKEN_LIFETIME, Access

from tests.integration.conftest import API_KEYS
from tests.support.local_aws import Calls, counted_calls

AT = datetime(2026, 11, 23, tzinfo=UTC)
ORDER_ID = UUID("4b3a3a5c-9a5c-4d5e-8f27-8c8f6f2f8d11")


@dataclass
class Door:
    keys: DynamoKeys
    calls: Calls
    now: float = 0.0
    access: Access = field(init=False)

    def __post_init__(self) -> None:
        self.access = Access(self.keys, lambda: AT + timedelta(seconds=self.now), lambda: self.now)

    def key(self, owner: str = "acme", scopes: tuple[str, ...] = ("trade", "read")) -> ApiKey:
        key = ApiKey.draw()
        self.keys.create(StoredKey.of(key, owner, scopes, AT, "somebody"))
        return key

    def told(self, authorization: str | None, scope: Scope = Scope.TRADE) -> str:
        """Who is let in, or why not."""
        try:
            return self.access.caller(authorization, scope).owner
        except RequestRefused as refusal:
            return f"{refusal.code}: {refusal}"

    @property
    def reads(self) -> int:
        return sum(self.calls.values())


@pytest.fixture
def door(dynamodb: Any) -> Iterator[Door]:
    with counted_calls(dynamodb) as calls:
        yield Door(DynamoKeys(dynamodb, API_KEYS), calls)


def bearer(key: ApiKey) -> str:
    return f"Bearer {key.text}"


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer oe_x_y", "Basic b2U6eA==", "Bearer a, Bearer b"])
def test_without_a_key_nobody_is_let_in_and_nothing_is_looked_up(door: Door, authorization: str | None) -> None:
    assert door.told(authorization).startswith("UNAUTHORIZED")
    assert door.reads == 0


def test_a_key_is_its_owners_and_looked_up_once(door: Door) -> None:
    key = door.key()
    door.calls.clear()

    assert {door.told(bearer(key)) for _ in range(5)} == {"acme"}
    assert door.told(bearer(key).replace("Bearer", "bearer")) == "acme"
    assert door.reads == 1


def test_unknown_wrong_and_revoked_keys_get_the_same_answer_at_the_same_cost(door: Door) -> None:
    known, revoked = door.key(), door.key()
    door.keys.revoke(revoked.key_id, AT, "somebody")
    answers, costs = set(), set()

    for wrong in (ApiKey.draw(), ApiKey(known.key_id, ApiKey.draw().secret), revoked):
        door.calls.clear()
        answers.add(door.told(bearer(wrong)))
        costs.add(door.reads)

    assert (len(answers), costs) == (1, {1})
    assert answers.pop().startswith("UNAUTHORIZED")


def test_a_miss_is_remembered_and_the_memory_is_bounded(door: Door) -> None:
    strangers = [ApiKey.draw() for _ in range(1001)]

    for stranger in strangers:
        door.told(bearer(stranger))
    assert door.reads == 1001
    door.told(bearer(strangers[-1]))
    assert door.reads == 1001
    door.told(bearer(strangers[0]))  # the oldest was forgotten
    assert door.reads == 1002


def test_a_scope_that_a_key_lacks_is_named(door: Door) -> None:
    key = door.key(scopes=("read",))

    assert door.told(bearer(key), Scope.TRADE).startswith("MISSING_SCOPE")
    assert door.told(bearer(key), Scope.READ) == "acme"


def test_a_change_takes_effect_when_what_is_remembered_has_aged(door: Door) -> None:
    key, late = door.key(), ApiKey.draw()
    assert (door.told(bearer(key)), door.told(bearer(late))[:12]) == ("acme", "UNAUTHORIZED")

    door.keys.revoke(key.key_id, AT, "somebody")
    door.keys.create(StoredKey.of(late, "late", Scope, AT, "somebody"))
    door.now = CACHE_SECONDS - 0.1
    assert (door.told(bearer(key)), door.told(bearer(late))[:12]) == ("acme", "UNAUTHORIZED")

    door.now = CACHE_SECONDS
    assert (door.told(bearer(key))[:12], door.told(bearer(late))) == ("UNAUTHORIZED", "late")


def test_a_stream_is_opened_by_its_token_or_by_its_owners_key(door: Door) -> None:
    key = door.key()
    streams = door.access.streams()
    assert streams
    token = streams.token(ORDER_ID, AT)
    door.calls.clear()

    assert door.access.watcher(None, token, ORDER_ID) is None
    for wrong, order_id in ((token, uuid4()), (token[:-1] + "!", ORDER_ID), ("", ORDER_ID)):
        with pytest.raises(Unauthorized):
            door.access.watcher(bearer(key), wrong, order_id)  # a token that is given counts
    with pytest.raises(Unauthorized):
        door.access.watcher(None, None, ORDER_ID)
    assert door.reads == 0

    caller = door.access.watcher(bearer(key), None, ORDER_ID)
    assert caller
    assert (caller.owner, caller.key_id) == ("acme", key.key_id)
    with pytest.raises(MissingScope):
        door.access.watcher(bearer(door.key(scopes=("trade",))), None, ORDER_ID)


def test_a_rotation_of_the_streams_secret_leaves_the_last_tokens_open_once(door: Door) -> None:
    door.key()
    streams = door.access.streams()
    assert streams
    token = streams.token(ORDER_ID, AT)

    door.keys.rotate_stream_secrets(AT)
    door.now += CACHE_SECONDS
    assert door.access.watcher(None, token, ORDER_ID) is None

    door.keys.rotate_stream_secrets(AT)
    door.now += CACHE_SECONDS
    with pytest.raises(Unauthorized):
        door.access.watcher(None, token, ORDER_ID)


def test_a_connection_token_lets_in_as_its_key_does_until_that_is_revoked(door: Door) -> None:
    key = door.key(scopes=("read",))
    made = door.access.connection_token(door.access.caller(bearer(key), Scope.READ))
    assert made
    token, until = made
    assert until == AT + TOKEN_LIFETIME

    caller = door.access.connector(None, token)
    assert (caller.owner, caller.key_id) == ("acme", key.key_id)
    subscribing = door.access.subscriber(caller.key_id, None, ORDER_ID)
    assert subscribing
    assert subscribing.owner == "acme"

    door.keys.revoke(key.key_id, AT, "somebody")
    door.now += CACHE_SECONDS
    with pytest.raises(Unauthorized):
        door.access.connector(None, token)
    for key_id in (key.key_id, ""):
        with pytest.raises(Unauthorized):
            door.access.subscriber(key_id, None, ORDER_ID)


def test_a_connection_token_is_void_after_its_time_and_costs_nothing(door: Door) -> None:
    key = door.key(scopes=("read",))
    made = door.access.connection_token(door.access.caller(bearer(key), Scope.READ))
    assert made
    door.access.streams()
    before, door.now = door.reads, door.now + CACHE_SECONDS - 1

    with pytest.raises(Unauthorized):
        door.access.connector(None, made[0][:-1])
    assert door.reads == before
    door.now = TOKEN_LIFETIME.total_seconds()
    with pytest.raises(Unauthorized):
        door.access.connector(None, made[0])


def test_without_keys_nobody_is_asked(door: Door) -> None:
    access = Access(None, lambda: AT)

    assert access.caller(None, Scope.TRADE).owner == PUBLIC
    assert [access.watcher(None, None, ORDER_ID), access.watcher(None, "any", ORDER_ID), access.streams()] == [None] * 3


def test_keys_that_can_not_be_looked_up_let_nobody_in(door: Door) -> None:
    access = Access(DynamoKeys(door.keys._dynamodb, "no such table"), lambda: AT)

    with pytest.raises(ServiceUnavailable):
        access.caller(bearer(ApiKey.draw()), Scope.TRADE)


def test_an_operator_sees_all_keys_and_who_made_and_revoked_them(door: Door) -> None:
    key = door.key()

    assert door.keys.revoke(key.key_id, AT, "another")
    assert door.keys.revoke(key.key_id, datetime.now(UTC), "a third")

    [kept] = [one for one in door.keys.every() if one.key_id == key.key_id]
    assert (kept.created_by, kept.revoked_by, kept.revoked_at) == ("somebody", "another", AT)
    assert door.keys.revoke("0123456789ab", AT, "somebody") is None
    assert door.keys.revoke("stream-secrets", AT, "somebody") is None
