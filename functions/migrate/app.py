"""Brings the database's schema to the deployed version: a custom resource, which CloudFormation asks for at a deploy.

CloudFormation waits for an answer to be put to the request's ResponseURL, so one is sent in every case: for an error,
and for a migration that is about to outlast this function. That is also why nothing but the standard library is
imported before there is somebody to answer.
"""

import json
import logging
import os
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection

_LAST_MOMENTS_SECONDS = 20  # kept for the answer
_CONNECTING_SECONDS = 60  # a database that has just been created may need a moment


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A request of CloudFormation's for a custom resource. Answers what was put to its ResponseURL.

    Raises OSError if the answer could not be sent; Lambda then repeats the invocation.
    """
    answer = _Answer(event)
    seconds = context.get_remaining_time_in_millis() / 1000 - _LAST_MOMENTS_SECONDS
    too_late = f"the migrations were not through after {seconds:.0f} s"
    watchdog = threading.Timer(seconds, answer.send, ("FAILED", too_late))
    watchdog.daemon = True
    watchdog.start()
    try:
        done = "the schema stays as it is" if event["RequestType"] == "Delete" else _migrate(seconds)
    except Exception as fault:
        logging.getLogger().exception("the migration failed")
        return answer.send("FAILED", f"{type(fault).__name__}: {fault}")
    finally:
        watchdog.cancel()
    return answer.send("SUCCESS", done)


class _Answer:
    """The one answer to a request: whoever is first sends it."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._lock = threading.Lock()
        self._sent: dict[str, Any] | None = None

    def send(self, status: str, reason: str) -> dict[str, Any]:
        with self._lock:
            if self._sent is None:
                self._sent = self._put(status, reason)
            return self._sent

    def _put(self, status: str, reason: str) -> dict[str, Any]:
        answer = {
            "Status": status,
            "Reason": reason[:1000],  # CloudFormation takes 4 KB in all
            "PhysicalResourceId": "order-engine-schema",  # always the same, so that nothing is ever replaced
            "Data": {"WorkerUser": "order_worker"},  # of roles.sql
            **{key: self._request[key] for key in ("StackId", "RequestId", "LogicalResourceId")},
        }
        body = json.dumps(answer).encode()
        for pause in (1, 3, None):
            # The URL is signed for a request without a content type. It is CloudFormation's own, hence the noqa.
            request = urllib.request.Request(  # noqa: S310
                self._request["ResponseURL"], body, {"Content-Type": ""}, method="PUT"
            )
            try:
                urllib.request.urlopen(request, timeout=4).close()  # noqa: S310
                break
            except OSError:
                if pause is None:
                    raise
                time.sleep(pause)
        return answer


def _migrate(seconds: float) -> str:
    from order_engine import migrations

    local = os.environ.get("DATABASE_URL", "")
    with _connect(local) as connection:
        connection.execute(f"SET statement_timeout = {int(seconds * 1000)}")
        applied = migrations.apply_over(connection)
        if not local:
            connection.execute(Path(__file__).with_name("roles.sql").read_bytes())
    return f"applied: {', '.join(applied) or 'nothing new'}"


def _connect(local: str) -> "Connection[Any]":
    from psycopg import OperationalError

    deadline = time.monotonic() + _CONNECTING_SECONDS
    while True:
        try:
            return _connect_once(local)
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(2)


def _connect_once(local: str) -> "Connection[Any]":
    from order_engine.aws import client
    from order_engine.postgres import connect_over_tls, connect_to

    if local:
        return connect_to(local)
    secret = client("secretsmanager").get_secret_value(SecretId=os.environ["DATABASE_SECRET"])
    master = json.loads(secret["SecretString"])
    return connect_over_tls(
        os.environ["DATABASE_HOST"], os.environ["DATABASE_NAME"], master["username"], master["password"]
    )
