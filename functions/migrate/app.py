"""Brings the database's schema to the deployed version: a custom resource that CloudFormation invokes at a deploy.

Only the standard library and what stands on it is imported before there is somebody to respond: a package that can't be
loaded must not keep CloudFormation waiting.
"""

from typing import Any

from order_engine.entrypoints.custom_resource import respond


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A request of CloudFormation's for a custom resource. Returns what was put to its ResponseURL.

    Raises OSError if the response could not be sent; Lambda then repeats the invocation.
    """
    return respond(event, context, _migrate)


def _migrate(seconds: float) -> tuple[str, dict[str, str]]:
    from order_engine.migrations import READER_USER, WORKER_USER, bring_up_to_date
    from order_engine.settings import Settings

    applied = bring_up_to_date(Settings.from_environment(), seconds)
    return f"applied: {', '.join(applied) or 'nothing new'}", {"WorkerUser": WORKER_USER, "ReaderUser": READER_USER}
