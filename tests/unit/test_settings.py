"""Settings: read from the environment, and a wrong one is named together with what would be right."""

from datetime import UTC, datetime

import pytest
from order_engine.settings import MissingSetting, Settings


def test_a_text_that_is_absent_or_empty_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", None):
        settings = Settings({} if value is None else {"ORDERS_QUEUE_URL": value})
        assert settings.optional("ORDERS_QUEUE_URL") == ""
        with pytest.raises(MissingSetting, match="ORDERS_QUEUE_URL is not set"):
            settings.text("ORDERS_QUEUE_URL")
    monkeypatch.setenv("ORDERS_QUEUE_URL", "https://queue")
    settings = Settings.from_environment()
    assert settings.text("ORDERS_QUEUE_URL") == settings.optional("ORDERS_QUEUE_URL") == "https://queue"


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("0.25", 0.25), ("1", 1), ("", 0.5)])
def test_a_number_is_read_and_an_empty_one_is_the_default(text: str, number: float) -> None:
    assert Settings({"VENUE_ERROR_RATE": text}).number("VENUE_ERROR_RATE", 0.5, highest=1) == number


@pytest.mark.parametrize("text", ["-0.1", "1.01", "nan", "inf", "half", "1,5", " "])
def test_a_number_that_can_not_be_is_named(text: str) -> None:
    with pytest.raises(MissingSetting, match="VENUE_ERROR_RATE must be a number from 0 to 1"):
        Settings({"VENUE_ERROR_RATE": text}).number("VENUE_ERROR_RATE", 0, highest=1)


@pytest.mark.parametrize(
    ("text", "bounds"), [("200-500", (200, 500)), ("0", (0, 0)), ("250", (250, 250)), ("5-5", (5, 5)), ("", (1, 2))]
)
def test_milliseconds_are_a_range_or_one_number(text: str, bounds: tuple[int, int]) -> None:
    assert Settings({"VENUE_QUOTE_LATENCY_MS": text}).milliseconds("VENUE_QUOTE_LATENCY_MS", (1, 2)) == bounds


@pytest.mark.parametrize("text", ["500-200", "-5", "fast", "1-2-3", "0.5", "-002"])
def test_milliseconds_that_can_not_be_are_named(text: str) -> None:
    with pytest.raises(MissingSetting, match="VENUE_QUOTE_LATENCY_MS must be milliseconds such as 200-500"):
        Settings({"VENUE_QUOTE_LATENCY_MS": text}).milliseconds("VENUE_QUOTE_LATENCY_MS", (1, 2))


LAUNCHING = ("NOVA", "ORBIT")


def test_moments_are_read_by_name_in_utc() -> None:
    def read(text: str) -> dict[str, datetime]:
        return Settings({"MARKET_LAUNCHES": text}).moments("MARKET_LAUNCHES", LAUNCHING)

    nova, orbit = datetime(2026, 12, 1, 12, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    assert read("") == {}
    assert read("NOVA=2026-12-01T12:00:00Z,ORBIT=2027-01-01T02:00:00+02:00") == {"NOVA": nova, "ORBIT": orbit}
    assert read("ORBIT=2027-01-01T02:00:00+02:00")["ORBIT"].tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "NOVA",
        "NOVA=",
        "NOVA=soon",
        "NOVA=2026-12-01",
        "NOVA=2026-12-01T12:00:00",  # of no zone
        "SOL=2026-12-01T12:00:00Z",
        "NOVA=2026-12-01T12:00:00Z,",
        "NOVA=2026-12-01T12:00:00Z,NOVA=2026-12-02T12:00:00Z",
    ],
)
def test_moments_that_can_not_be_are_named(text: str) -> None:
    with pytest.raises(
        MissingSetting, match="MARKET_LAUNCHES must be moments of NOVA, ORBIT, such as NOVA=2026-12-01T1"
    ):
        Settings({"MARKET_LAUNCHES": text}).moments("MARKET_LAUNCHES", LAUNCHING)
