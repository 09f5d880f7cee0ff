"""Refuses a deploy that needs more Lambda executions than the account has left: a custom resource of CloudFormation's.

It is asked before the database is made. As in `migrate`, only the standard library is imported before there is somebody
to respond.
"""

from typing import Any

from order_engine.entrypoints.custom_resource import respond

# AWS keeps 100 executions unreserved, and a smaller quota as a whole: of 10, and of 50, nothing could be reserved.
_KEPT = 100
_ASKING_SECONDS = 60  # a role that has just been created may need a moment


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A request of CloudFormation's for a custom resource. Its properties are lists of numbers of executions: those
    `Reserved` by the stack, and those that it needs `Unreserved`. Returns what was put to its ResponseURL.

    Raises OSError if the response could not be sent; Lambda then repeats the invocation.
    """
    return respond(event, context, lambda _seconds: (_compare(event), {}))


def _compare(event: dict[str, Any]) -> str:
    """Return what the account has left. Raises ValueError if the stack can't be deployed in it."""
    new, old = event["ResourceProperties"], event.get("OldResourceProperties", {})
    more = _sum(new, "Reserved") - _sum(old, "Reserved")  # what the stack has reserved is taken off already
    limit = _account_limit()
    left = limit["UnreservedConcurrentExecutions"] - more
    least = max(_sum(new, "Unreserved"), min(_KEPT, limit["ConcurrentExecutions"]) if more > 0 else 0)
    if left < least:
        raise ValueError(
            f"of this account's {limit['ConcurrentExecutions']} concurrent Lambda executions {left} would be left"
            f" unreserved, and {least} have to be. Deploy with ReserveConcurrency=false and fewer Workers, as"
            " `sam deploy --config-env try` does, or have the quota L-B99A9384 raised (docs/deploy.md)"
        )
    return f"{left} executions are left unreserved, and {least} have to be"


def _sum(properties: dict[str, Any], name: str) -> int:
    return sum(int(number) for number in properties.get(name, []))  # CloudFormation sends numbers as text


def _account_limit() -> dict[str, int]:
    from order_engine import limits
    from order_engine.adapters.aws import client, service_errors
    from order_engine.domain.errors import ServiceUnavailable

    lambda_ = client("lambda")

    def ask() -> dict[str, int]:
        with service_errors("Lambda", limits.INVOKE):
            limit: dict[str, int] = lambda_.get_account_settings()["AccountLimit"]
        return limit

    return limits.keep_trying(ask, (ServiceUnavailable,), _ASKING_SECONDS)
