"""The custom resource that compares what a stack needs with what the account has, before the database is made."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from order_engine import limits

from functions.preflight import app as preflight
from tests.support.cloudformation import CloudFormation
from tests.support.local_aws import AnsweringService

Ask = Callable[..., dict[str, Any]]
# The template's numbers, with and without a reservation; CloudFormation sends text.
RESERVING = {"Reserved": ["10", "20"], "Unreserved": ["0", "2", "2", "1", "1", "1"]}
SHARING = {"Reserved": [], "Unreserved": ["10", "2", "2", "1", "1", "1"]}
TRYING = {"Reserved": [], "Unreserved": ["3", "2", "2", "1", "1", "1"]}


def account(quota: int, unreserved: int | None = None) -> tuple[int, dict[str, Any]]:
    """What GetAccountSettings answers in an account of this quota."""
    left = quota if unreserved is None else unreserved
    return 200, {"AccountLimit": {"ConcurrentExecutions": quota, "UnreservedConcurrentExecutions": left}}


@pytest.fixture
def asks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Has CloudFormation ask, in an account that answers so; returns the response."""
    monkeypatch.setattr(limits, "_PAUSE", 0.01)
    with ExitStack() as services:

        def ask(kind: str, *answers: tuple[int, dict[str, Any]] | None, **changes: Any) -> dict[str, Any]:
            service = services.enter_context(closing(AnsweringService(*answers)))
            monkeypatch.setenv("AWS_ENDPOINT_URL", service.url)
            receiver = services.enter_context(closing(CloudFormation("preflight", preflight.handler)))
            return receiver.asks(kind, **changes)

        yield ask


@pytest.mark.parametrize(
    ("quota", "properties", "fits"),
    [
        (1000, RESERVING, True),
        (130, RESERVING, True),
        (129, RESERVING, False),  # AWS keeps 100
        (50, RESERVING, False),  # and of fewer all
        (10, RESERVING, False),
        (17, SHARING, True),
        (16, SHARING, False),
        (10, TRYING, True),
    ],
)
def test_a_stack_is_made_in_an_account_that_has_room_for_it(
    asks: Ask, quota: int, properties: dict[str, Any], fits: bool
) -> None:
    response = asks("Create", account(quota), ResourceProperties=properties)

    assert response["Status"] == ("SUCCESS" if fits else "FAILED")
    if not fits:
        for way_out in ("ReserveConcurrency=false", "--config-env try", "L-B99A9384"):
            assert way_out in response["Reason"]


@pytest.mark.parametrize(("workers", "fits"), [(10, True), (11, True), (60, True), (61, False), (5, True)])
def test_an_update_needs_what_it_reserves_beyond_what_the_stack_has(asks: Ask, workers: int, fits: bool) -> None:
    more = {**RESERVING, "Reserved": [str(workers), "20"]}

    response = asks("Update", account(1000, unreserved=150), ResourceProperties=more, OldResourceProperties=RESERVING)

    assert response["Status"] == ("SUCCESS" if fits else "FAILED")


def test_an_account_below_what_aws_keeps_is_updated_where_nothing_more_is_reserved(asks: Ask) -> None:
    response = asks(
        "Update", account(1000, unreserved=60), ResourceProperties=RESERVING, OldResourceProperties=RESERVING
    )

    assert response["Status"] == "SUCCESS"


def test_faults_of_lambda_are_waited_out(asks: Ask) -> None:
    denied = (403, {"Message": "not authorized"})  # a role that is not everywhere yet

    response = asks("Create", denied, (429, {"Message": "slower"}), None, (500, {}), account(1000))

    assert response["Status"] == "SUCCESS", response


def test_a_service_that_stays_unavailable_fails_the_deploy(asks: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_ASKING_SECONDS", 0)

    response = asks("Create", (403, {"Message": "not authorized"}))

    assert response["Status"] == "FAILED"
    assert "ServiceUnavailable: Lambda" in response["Reason"]


def test_a_deleted_stack_needs_nothing(asks: Ask) -> None:
    assert asks("Delete", account(0))["Status"] == "SUCCESS"
