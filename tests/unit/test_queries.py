"""The query strings of the list and of quotes."""

from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from order_engine.domain.errors import FailureCode
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.refusals import InvalidRequest
from order_engine.domain.summary import OrderFilter, Position
from order_engine.domain.swaps import VenueName
from order_engine.entrypoints.queries import parse_list_query, parse_quote_query

MOMENT = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
END = Position(MOMENT, UUID("5a3b0000-0000-4000-8000-000000000001"))


def forged(microseconds: int) -> str:
    """A cursor that somebody makes up, with the right check."""
    content = microseconds.to_bytes(8, "big") + END.order_id.bytes
    return quote(urlsafe_b64encode(content + sha256(content + repr(OrderFilter()).encode()).digest()[:6]).decode())


def wrong_in(raw: str) -> dict[str, str]:
    """The wrong parameters of a list's query, with what is said of each."""
    with pytest.raises(InvalidRequest) as caught:
        parse_list_query(raw)
    assert caught.value.code == "INVALID_FIELD"
    return {error.field: error.message for error in caught.value.errors}


def next_of(link: str) -> str:
    """The query of a Link header."""
    target, _, relation = link.partition(">; ")
    assert (target[0], relation) == ("<", 'rel="next"')
    assert urlsplit(target[1:]).path == "/api/orders"
    return urlsplit(target[1:]).query


def test_without_parameters_the_first_fifty_are_wanted() -> None:
    query = parse_list_query("")

    assert (query.wanted, query.after, query.limit, query.client_order_id) == (OrderFilter(), None, 50, None)


def test_every_filter_is_read() -> None:
    given = {
        "status": "failed",
        "orderType": "takeProfit",
        "venue": "meteora",
        "tokenIn": "sol",
        "tokenOut": "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGkZwyTDt1v",
        "code": "SLIPPAGE_EXCEEDED",
        "from": "2026-11-23T12:00:00+02:00",
        "to": "2026-11-24t00:00:00.5z",
        "limit": "200",
    }

    query = parse_list_query(urlencode(given))

    assert query.limit == 200
    assert query.wanted == OrderFilter(
        status=OrderStatus.FAILED,
        order_type="takeProfit",
        venue=VenueName.METEORA,
        token_in="SOL",  # noqa: S106
        token_out="USDC",  # noqa: S106
        code=FailureCode.SLIPPAGE_EXCEEDED,
        created_from=datetime(2026, 11, 23, 10, tzinfo=UTC),
        created_before=datetime(2026, 11, 24, 0, 0, 0, 500_000, tzinfo=UTC),
    )


def test_a_plus_that_was_not_escaped_is_one() -> None:
    assert parse_list_query("from=2026-11-23T12:00:00+02:00").wanted.created_from == datetime(
        2026, 11, 23, 10, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("raw", "field", "said"),
    [
        ("colour=red", "colour", "is not one of status, orderType, venue, tokenIn, tokenOut, code, from, to, limit"),
        ("Status=failed", "Status", "is not one of"),
        ("createdFrom=2026-11-23T12:00:00Z", "createdFrom", "is not one of"),
        ("=1", "", "is not one of"),
        ("status=failed&status=confirmed", "status", "once"),
        ("status=FAILED", "status", "must be 'pending', 'open'"),
        ("status=", "status", "must be 'pending'"),
        ("status=failed,confirmed", "status", "must be"),
        ("orderType=iceberg", "orderType", "'takeProfit'"),
        ("venue=orca", "venue", "'raydium' or 'meteora'"),
        ("tokenIn=SOL", "tokenOut", "is required with the other one"),
        ("tokenOut=SOL", "tokenIn", "is required with the other one"),
        ("tokenIn=SOL&tokenOut=DOGE", "tokenOut", "must be one of SOL, USDC"),
        ("code=OOPS", "code", "SLIPPAGE_EXCEEDED"),
        ("from=yesterday", "from", "RFC 3339"),
        ("to=2026-11-23T12:00:00", "to", "RFC 3339"),
        ("from=2026-11-23T12:00:00Z&to=2026-11-23T12:00:00Z", "to", "must be later than from"),
        *(
            (f"limit={limit}", "limit", "a whole number from 1 to 200")
            for limit in ("0", "201", "-1", "1.0", "ten", "")
        ),
        (f"limit={'9' * 5000}", "limit", "a whole number from 1 to 200"),
        ("limit=%D9%A1", "limit", "a whole number from 1 to 200"),  # a digit of another script
        ("cursor=", "cursor", "must be taken from the Link header"),
        ("cursor=%00%01", "cursor", "must be taken from the Link header"),
        ("cursor=AAAA", "cursor", "must be taken from the Link header"),
        (f"cursor={'A' * 40}", "cursor", "must be taken from the Link header"),
        (f"cursor={forged(2**63)}", "cursor", "must be taken from the Link header"),  # no time that there is
        ("clientOrderId=%FF", "", "must be UTF-8"),
        ("clientOrderId=%ED%A0%80", "", "must be UTF-8"),
        ("tokenIn=%C5%BFol&tokenOut=USDC", "tokenIn", "must be one of SOL"),  # ſ, of which S is the capital
        (f"clientOrderId={'x' * 129}", "clientOrderId", "1 to 128 printable"),
        ("clientOrderId=", "clientOrderId", "1 to 128 printable"),
        ("clientOrderId=a&limit=1", "clientOrderId", "can't be combined"),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(raw: str, field: str, said: str) -> None:
    wrong = wrong_in(raw)

    assert said in wrong[field]
    assert len(str(wrong)) < 700


def test_many_wrong_parameters_make_no_long_answer() -> None:
    assert len(wrong_in("&".join(f"x{number}{'y' * 500}=1" for number in range(100)))) == 10


def test_a_cursor_leads_on_with_the_same_filters_and_another_limit() -> None:
    first = parse_list_query("status=failed&tokenIn=SOL&tokenOut=USDC&limit=2")

    following = next_of(first.link_to(END))

    assert parse_list_query(following).after == END
    assert parse_list_query(following.replace("limit=2", "limit=3")).after == END
    assert parse_qs(following)["status"] == ["failed"]
    after_that = next_of(parse_list_query(following).link_to(END))
    assert after_that == following


@pytest.mark.parametrize("other", ["", "status=confirmed", "status=failed&venue=raydium"])
def test_a_cursor_of_another_list_is_refused(other: str) -> None:
    cursor = parse_qs(next_of(parse_list_query("status=failed").link_to(END)))["cursor"][0]

    assert "same filters" in wrong_in(f"{other}&cursor={quote(cursor)}".lstrip("&"))["cursor"]


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)), st.uuids(), st.integers(0, 39))  # noqa: DTZ001
def test_a_cursor_is_exact_and_a_mistyped_one_is_refused(moment: datetime, order_id: UUID, place: int) -> None:
    end = Position(moment.replace(tzinfo=UTC), order_id)
    cursor = parse_qs(next_of(parse_list_query("").link_to(end)))["cursor"][0]
    assert parse_list_query(f"cursor={cursor}").after == end

    changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
    assert "cursor" in wrong_in(f"cursor={changed}")


@pytest.mark.parametrize("mistyped", ["{}!!!!", "{}====", " *{}", "{}A", "{}AAAA"])
def test_a_cursor_stands_as_it_was_given(mistyped: str) -> None:
    cursor = parse_qs(next_of(parse_list_query("").link_to(END)))["cursor"][0]

    assert "cursor" in wrong_in(f"cursor={quote(mistyped.format(cursor))}")


def test_a_quote_is_asked_for_as_a_market_order_is() -> None:
    terms = parse_quote_query("tokenIn=SOL&tokenOut=usdc&amountIn=1.5&slippageBps=100&maxPriceImpactBps=0")

    assert (terms.token_in, terms.token_out, terms.amount_in) == ("SOL", "USDC", Decimal("1.5"))
    assert (terms.order_type, terms.slippage_bps, terms.max_price_impact_bps) == ("market", 100, 0)


@pytest.mark.parametrize(
    ("raw", "field", "said"),
    [
        ("tokenIn=SOL&tokenOut=USDC", "amountIn", "is required"),
        ("tokenIn=SOL&tokenOut=USDC&amountIn=1&orderType=limit", "orderType", "is not one of tokenIn, tokenOut"),
        ("tokenIn=SOL&tokenOut=USDC&amountIn=1&amountIn=2", "amountIn", "once"),
        ("tokenIn=SOL&tokenOut=SOL&amountIn=1", "tokenOut", "must differ"),
        ("tokenIn=SOL&tokenOut=USDC&amountIn=0", "amountIn", "greater than 0"),
        ("tokenIn=SOL&tokenOut=USDC&amountIn=1e3", "amountIn", "without an exponent"),
        ("tokenIn=USDC&tokenOut=SOL&amountIn=0.0000001", "amountIn", "at most 6 decimal places"),
        ("tokenIn=SOL&tokenOut=USDC&amountIn=1&slippageBps=10001", "slippageBps", "a whole number from 0 to 10000"),
        ("tokenIn=SOL&tokenOut=USDC&amountIn=1&slippageBps=", "slippageBps", "a whole number from 0 to 10000"),
        ("tokenIn=SOL&tokenOut=USDC&amountIn=1&slippageBps=%D9%A1", "slippageBps", "a whole number from 0 to 10000"),
        (f"tokenIn=SOL&tokenOut=USDC&amountIn=1&maxPriceImpactBps={'9' * 5000}", "maxPriceImpactBps", "to 10000"),
    ],
)
def test_what_is_wrong_with_a_quote_is_named(raw: str, field: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_quote_query(raw)

    assert {error.field: error.message for error in caught.value.errors}[field].find(said) >= 0
