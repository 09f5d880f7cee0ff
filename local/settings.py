"""The settings of `python -m local`, from the environment; README.md lists them."""

from collections.abc import Mapping
from dataclasses import dataclass

from order_engine.settings import MissingSetting, Settings

from local.errors import LocalStackError

_DEFAULT_PORT = 4566
_HIGHEST_PORT = 65535
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
# Environment variable: parameter of the template.
_PARAMETERS = {
    "VENUE_QUOTE_LATENCY_MS": "VenueQuoteLatencyMs",
    "VENUE_SWAP_LATENCY_MS": "VenueSwapLatencyMs",
    "VENUE_ERROR_RATE": "VenueErrorRate",
    "VENUE_TIMEOUT_RATE": "VenueTimeoutRate",
    "VENUE_MAX_SLIP_BPS": "VenueMaxSlipBps",
    "VENUE_VALIDITY_SECONDS": "VenueValiditySeconds",
    "VENUE_SEED": "VenueSeed",
    "RETRY_BASE_SECONDS": "RetryBaseSeconds",
    "ORDER_MAX_AGE_SECONDS": "OrderMaxAgeSeconds",
    "LOG_LEVEL": "LogLevel",
}


@dataclass(frozen=True)
class RunSettings:
    """How to run: the gateway's port (0: a free one), whether to send a sample order and to reload changed code, and
    the template's parameters."""

    port: int
    sample: bool
    reload: bool
    parameters: Mapping[str, str]


def read_settings(environment: Mapping[str, str]) -> RunSettings:
    """An empty value is as good as none; for one that can't be right, raises LocalStackError, which names it."""
    settings = Settings(environment)
    try:
        for name in ("VENUE_QUOTE_LATENCY_MS", "VENUE_SWAP_LATENCY_MS"):
            settings.milliseconds(name, (0, 0))
        for name in ("VENUE_ERROR_RATE", "VENUE_TIMEOUT_RATE"):
            settings.number(name, 0, highest=1)
        settings.number("VENUE_VALIDITY_SECONDS", 0)
    except MissingSetting as error:
        raise LocalStackError(str(error)) from error
    if settings.optional("LOG_LEVEL") not in ("", *_LOG_LEVELS):
        raise LocalStackError(f"LOG_LEVEL must be one of {', '.join(_LOG_LEVELS)}, not {environment['LOG_LEVEL']!r}")
    for name in ("SAMPLE", "RELOAD"):
        if settings.optional(name) not in ("", "0", "1"):
            raise LocalStackError(f"{name} must be 0 or 1, not {environment[name]!r}")
    return RunSettings(
        port=_port(settings.optional("PORT")),
        sample=settings.optional("SAMPLE") != "0",
        reload=settings.optional("RELOAD") == "1",
        parameters={_PARAMETERS[name]: environment[name] for name in _PARAMETERS if environment.get(name)},
    )


def _port(text: str) -> int:
    if not text:
        return _DEFAULT_PORT
    if not text.isdecimal() or int(text) > _HIGHEST_PORT:
        raise LocalStackError(f"PORT must be a number from 0 (any free port) to {_HIGHEST_PORT}, not {text!r}")
    return int(text)
