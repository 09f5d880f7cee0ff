"""Run the engine without log lines and metrics, which would take most of the time of many runs in process."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

from order_engine import observability


class _NoMetrics:
    """Stands for `observability.metrics`, and for a single metric."""

    def add_metric(self, **_metric: Any) -> None:
        """Counts nothing."""

    def add_dimension(self, **_dimension: Any) -> None:
        """Counts nothing."""


def _nothing(*_args: object, **_kwargs: object) -> None:
    """Logs nothing."""


def _no_context(**_keys: object) -> nullcontext[None]:
    return nullcontext()


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing that runs inside logs or counts."""
    levels: dict[str, Any] = dict.fromkeys(("debug", "info", "warning", "error", "exception"), _nothing)
    levels["append_context_keys"] = _no_context
    metrics = _NoMetrics()
    with (
        patch.multiple(observability.logger, **levels),
        patch.multiple(observability, metrics=metrics, single_metric=lambda **_metric: nullcontext(metrics)),
    ):
        yield
