"""The owners' quotas in DynamoDB: how many get through, what the others are told, and what it costs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from order_engine.adapters.quotas import DynamoQuotas
from order_engine.domain.quota import WINDOW_SECONDS, Quota

from tests.integration.conftest import API_KEYS
from tests.support.builders import START
from tests.support.local_aws import AnswerLost, Calls, counted_calls

LIMIT = 6  # one in ten seconds


@dataclass
class Clock:
    moment: datetime = START

    def __call__(self) -> datetime:
        return self.moment

    def pass_by(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@dataclass
class World:
    dynamodb: Any
    calls: Calls
    clock: Clock
    owner: str

    def quotas(self, dynamodb: Any = None) -> DynamoQuotas:
        """As a function's environment has them."""
        return DynamoQuotas(dynamodb or self.dynamodb, API_KEYS, Quota(LIMIT), self.clock)

    @property
    def writes(self) -> int:
        return sum(self.calls.values())


@pytest.fixture
def world(dynamodb: Any) -> Iterator[World]:
    with counted_calls(dynamodb) as calls:
        yield World(dynamodb, calls, Clock(), f"owner {uuid4()}")


def test_a_windows_worth_may_come_at_once_and_then_one_by_one(world: World) -> None:
    quotas = world.quotas()

    told = [quotas.take(world.owner) for _ in range(LIMIT + 2)]

    assert [one.retry_seconds for one in told] == [0] * LIMIT + [10, 10]
    assert [one.remaining for one in told] == [5, 4, 3, 2, 1, 0, 0, 0]
    assert [one.reset_seconds for one in told[:3]] == [10, 20, 30]
    world.clock.pass_by(10)
    assert [quotas.take(world.owner).retry_seconds for _ in range(2)] == [0, 10]
    world.clock.pass_by(WINDOW_SECONDS)
    assert [quotas.take(world.owner).retry_seconds for _ in range(LIMIT)] == [0] * LIMIT


def test_a_request_costs_one_write_and_one_that_is_denied_none(world: World) -> None:
    quotas = world.quotas()

    for _ in range(LIMIT):
        quotas.take(world.owner)
    assert world.writes == LIMIT

    for _ in range(10):
        quotas.take(world.owner)
    assert world.writes == LIMIT


def test_owners_have_nothing_to_do_with_each_other(world: World) -> None:
    quotas = world.quotas()
    while not quotas.take(world.owner).retry_seconds:
        pass

    assert quotas.take(f"{world.owner} 2").remaining == LIMIT - 1


def test_another_environment_counts_on(world: World) -> None:
    first, second = world.quotas(), world.quotas()

    told = [(first, second)[number % 2].take(world.owner) for number in range(LIMIT + 2)]

    assert [one.retry_seconds for one in told] == [0] * LIMIT + [10, 10]


def test_requests_at_once_are_all_counted(world: World) -> None:
    with ThreadPoolExecutor(4) as environments:
        told = list(environments.map(lambda _: world.quotas().take(world.owner), range(4)))

    assert sorted(one.remaining for one in told) == [2, 3, 4, 5]


def test_a_write_that_the_sdk_repeats_may_count_twice_and_never_lets_more_through(world: World) -> None:
    quotas = world.quotas(AnswerLost(world.dynamodb))

    told = [quotas.take(world.owner) for _ in range(LIMIT)]

    assert 1 <= sum(not one.retry_seconds for one in told) <= LIMIT


@given(limit=st.integers(1, 60_000), now=st.integers(0, 10**13), ahead=st.integers(0, 120_000))
def test_what_is_told_is_true(limit: int, now: int, ahead: int) -> None:
    """Whoever waits as long as told gets through; what remains is within the limit."""
    quota = Quota(limit)
    arrival = now + ahead
    if arrival > quota.latest(now):
        denied = quota.denied(now, arrival)
        assert denied.retry_seconds >= 1
        assert arrival <= quota.latest(now + denied.retry_seconds * 1000)
    else:
        allowed = quota.allowed(now, arrival + quota.interval)
        assert 0 <= allowed.remaining < limit
        assert allowed.reset_seconds <= WINDOW_SECONDS
