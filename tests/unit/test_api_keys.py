"""API keys and stream tokens: what they look like, and what is none."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from order_engine.domain.access import SETTLING, ApiKey, Scope, StoredKey, StreamSecrets
from order_engine.use_cases.access import CACHE_SECONDS

AT = datetime(2026, 11, 23, tzinfo=UTC)
LATER = AT + timedelta(days=1)
ORDER_ID = UUID("4b3a3a5c-9a5c-4d5e-8f27-8c8f6f2f8d11")


def test_a_key_is_drawn_and_parsed_again() -> None:
    keys = [ApiKey.draw() for _ in range(100)]

    assert len({key.text for key in keys}) == len({key.key_id for key in keys}) == 100
    for key in keys:
        assert re.fullmatch(r"oe_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", key.text)
        assert ApiKey.parse(key.text) == key


def test_the_format_of_a_key_stays() -> None:
    """Keys are in the hands of clients: their checksums must be right in every release."""
    key = ApiKey("0123456789ab", "s" * 43)

    assert key.text == "oe_0123456789ab_" + "s" * 43 + "17U2my"
    assert key.digest == "adbd6c1a1d45c4e71e321cd8111b3b5f4e63bfb118d1070196191dff4043c92a"


@pytest.mark.parametrize("number", range(4))
def test_a_key_that_is_mistyped_or_cut_off_is_none(number: int) -> None:
    text = ApiKey.draw().text
    changed = "x" if text[-20] != "x" else "y"
    wrong = [text[:-1], f"{text[:-20]}{changed}{text[-19:]}", f" {text}", text.replace("oe_", "sk_")][number]

    assert ApiKey.parse(wrong) is None


@pytest.mark.parametrize("text", ["", "oe_", "Bearer", "oe_é", "oe_" + "0" * 200])
def test_anything_else_is_no_key(text: str) -> None:
    assert ApiKey.parse(text) is None


def test_neither_a_key_nor_the_streams_secrets_show_themselves() -> None:
    key, streams = ApiKey.draw(), StreamSecrets.rotated(AT)

    assert key.secret not in repr(key)
    assert streams.secrets[0] not in repr(streams)


def test_only_a_digest_of_a_key_is_kept() -> None:
    key = ApiKey.draw()
    stored = StoredKey.of(key, "acme", ["trade"], AT, "somebody")

    assert key.secret not in repr(stored)
    assert (stored.digest, stored.scopes) == (key.digest, frozenset({Scope.TRADE}))


@pytest.mark.parametrize("owner", ["", "public", "Acme", "a#b", "-a", "a" * 64, "a b"])
def test_an_owner_that_can_not_be_is_refused(owner: str) -> None:
    with pytest.raises(ValueError, match="an owner is named by"):
        StoredKey.of(ApiKey.draw(), owner, Scope, AT, "somebody")


@pytest.mark.parametrize("scopes", [[], ["admin"], ["trade", ""]])
def test_a_scope_that_can_not_be_is_refused(scopes: list[str]) -> None:
    with pytest.raises(ValueError, match="scopes are"):
        StoredKey.of(ApiKey.draw(), "acme", scopes, AT, "somebody")


def test_a_token_opens_one_stream_and_is_always_the_same() -> None:
    streams = StreamSecrets.rotated(AT)
    token = streams.token(ORDER_ID, LATER)

    assert streams.token(ORDER_ID, LATER) == token
    assert streams.opens(token, ORDER_ID)
    assert not streams.opens(token, uuid4())
    assert not any(
        streams.opens(wrong, ORDER_ID)
        for wrong in ("", token[:-1], token + "A", "é", StreamSecrets.rotated(AT).token(ORDER_ID, LATER))
    )


def test_a_token_outlives_one_rotation_and_no_second() -> None:
    first = StreamSecrets.rotated(AT)
    second = StreamSecrets.rotated(AT, first)
    third = StreamSecrets.rotated(AT, second)

    opened = [streams.opens(first.token(ORDER_ID, LATER), ORDER_ID) for streams in (first, second, third)]

    assert opened == [True, True, False]
    assert second.token(ORDER_ID, LATER) != first.token(ORDER_ID, LATER)


def test_a_new_secret_is_used_only_when_everybody_knows_it() -> None:
    """Whoever checks tokens remembers the secrets of before for a while."""
    first = StreamSecrets.rotated(AT - timedelta(days=1))
    second = StreamSecrets.rotated(AT, first)

    for at, known in ((AT, first), (AT + SETTLING * 0.99, first), (AT + SETTLING, second)):
        assert known.opens(second.token(ORDER_ID, at), ORDER_ID)
        token = second.connection_token("a" * 12, at + timedelta(minutes=5), at)
        assert known.connects(token, at) == "a" * 12
    assert not first.opens(second.token(ORDER_ID, AT + SETTLING), ORDER_ID)
    assert timedelta(seconds=CACHE_SECONDS) < SETTLING
    assert StreamSecrets(("secret",)).token(ORDER_ID, AT)  # as an earlier release stored it


@pytest.mark.parametrize(("seconds", "key_id"), [(0, "a" * 12), (299, "a" * 12), (300, None), (10**6, None)])
def test_a_connection_token_ends(seconds: float, key_id: str | None) -> None:
    streams = StreamSecrets.rotated(AT)
    token = streams.connection_token("a" * 12, AT + timedelta(seconds=300), AT)

    assert streams.connects(token, AT + timedelta(seconds=seconds)) == key_id
    for wrong in (
        "",
        token[:-1],
        token + "A",
        token.replace("a", "b", 1),
        StreamSecrets.rotated(AT).token(ORDER_ID, AT),
    ):
        assert streams.connects(wrong, AT) is None
