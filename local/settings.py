"""The settings of `python -m local`, from the environment; README.md lists them."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from order_engine.domain.tokens import LAUNCHING
from order_engine.settings import MissingSetting, Settings
from samtranslator.yaml_helper import yaml_parse

from local.errors import LocalStackError

TEMPLATE = Path(__file__).resolve().parent.parent / "template.yaml"

_DEFAULT_PORT = 4566
_HIGHEST_PORT = 65535
# Environment variable: parameter of the template.
_PARAMETERS = {
    "ACCESS": "Access",
    "ALLOWED_ORIGINS": "AllowedOrigins",
    "VENUE_QUOTE_LATENCY_MS": "VenueQuoteLatencyMs",
    "VENUE_SWAP_LATENCY_MS": "VenueSwapLatencyMs",
    "VENUE_ERROR_RATE": "VenueErrorRate",
    "VENUE_TIMEOUT_RATE": "VenueTimeoutRate",
    "VENUE_MAX_SLIP_BPS": "VenueMaxSlipBps",
    "VENUE_VALIDITY_SECONDS": "VenueValiditySeconds",
    "VENUE_SEED": "VenueSeed",
    "MARKET_VOLATILITY_BPS": "MarketVolatilityBps",
    "MARKET_LAUNCHES": "MarketLaunches",
    "RETRY_BASE_SECONDS": "RetryBaseSeconds",
    "ORDER_MAX_AGE_SECONDS": "OrderMaxAgeSeconds",
    "LOG_LEVEL": "LogLevel",
}


_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")

# The values of a switch.
_OFF_ON = ("0", "1")


@dataclass(frozen=True)
class RunSettings:
    """How to run: the gateway's port (0: a free one), whether to send a sample order, to reload changed code, to keep
    the order history, and to be quiet about orders and errors; and the template's parameters."""

    port: int
    sample: bool
    reload: bool
    keep: bool
    quiet: bool
    parameters: Mapping[str, str]


def read_settings(environment: Mapping[str, str]) -> RunSettings:
    """An empty value is as good as none; for one that can't be right, raises LocalStackError, which names it."""
    given = {name: value for name, value in environment.items() if value}
    declared = yaml_parse(TEMPLATE.read_text())["Parameters"]
    for name, parameter in _PARAMETERS.items():
        if name in given and (wanted := _wanted(given[name], declared[parameter])):
            raise LocalStackError(f"{name} must be {wanted}, not {given[name]!r}")
    try:
        for name in ("VENUE_QUOTE_LATENCY_MS", "VENUE_SWAP_LATENCY_MS"):
            Settings(given).milliseconds(name, (0, 0))
        Settings(given).moments("MARKET_LAUNCHES", LAUNCHING)
    except MissingSetting as error:
        raise LocalStackError(str(error)) from error
    for origin in given.get("ALLOWED_ORIGINS", "*").split(","):
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise LocalStackError(
                "ALLOWED_ORIGINS must be * or origins, such as http://localhost:3000,https://example.com (no path), "
                f"and {origin!r} is none"
            )
    for name in ("SAMPLE", "RELOAD", "KEEP", "QUIET"):
        if given.get(name, "0") not in _OFF_ON:
            raise LocalStackError(f"{name} must be 0 or 1, not {given[name]!r}")
    return RunSettings(
        port=_port(given.get("PORT", "")),
        sample=given.get("SAMPLE") != "0",
        reload=given.get("RELOAD") == "1",
        keep=given.get("KEEP") == "1",
        quiet=given.get("QUIET") == "1",
        parameters={_PARAMETERS[name]: given[name] for name in _PARAMETERS if name in given},
    )


def _wanted(value: str, parameter: dict[str, Any]) -> str | None:
    """What a parameter of the template must be, if it is not."""
    if choices := parameter.get("AllowedValues"):
        return None if value in choices else f"one of {', '.join(choices)}"
    if parameter["Type"] != "Number":
        return None
    least, most = parameter.get("MinValue"), parameter.get("MaxValue")
    with suppress(InvalidOperation):
        number = Decimal(value) if value.isascii() else Decimal("NaN")
        if number.is_finite() and (least is None or number >= least) and (most is None or number <= most):
            return None
    return f"a number from {least} to {most}" if most is not None else f"a number, {least} or more"


def _port(text: str) -> int:
    if not text:
        return _DEFAULT_PORT
    if not (text.isascii() and text.isdecimal()) or int(text) > _HIGHEST_PORT:
        raise LocalStackError(f"PORT must be a number from 0 (any free port) to {_HIGHEST_PORT}, not {text!r}")
    return int(text)
