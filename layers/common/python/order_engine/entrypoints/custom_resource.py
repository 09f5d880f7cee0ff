"""Custom resources of CloudFormation: do the work, and put the one response to the request's ResponseURL.

CloudFormation waits up to an hour for it, so a response is sent in every case: for an error, and for work that is about
to outlast the function.
"""

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import Any

_LAST_SECONDS = 20  # kept for the response


def respond(
    request: dict[str, Any], context: Any, work: Callable[[float], tuple[str, dict[str, str]]]
) -> dict[str, Any]:
    """Do the work of a Create or Update request within the seconds it is given; it returns a reason and the resource's
    attributes. A Delete request leaves everything as it is. Returns the response.

    Raises OSError if the response could not be sent.
    """
    response = _Response(request)
    seconds = context.get_remaining_time_in_millis() / 1000 - _LAST_SECONDS
    watchdog = threading.Timer(seconds, response.send, ("FAILED", f"not done after {seconds:.0f} s"))
    watchdog.daemon = True
    watchdog.start()
    try:
        done, attributes = ("left as it is", {}) if request["RequestType"] == "Delete" else work(seconds)
    except Exception as fault:
        logging.getLogger().exception("the custom resource failed")
        return response.send("FAILED", f"{type(fault).__name__}: {fault}")
    finally:
        watchdog.cancel()
    return response.send("SUCCESS", done, attributes)


class _Response:
    """The one response to a request: the first to send it wins."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._lock = threading.Lock()
        self._sent: dict[str, Any] | None = None

    def send(self, status: str, reason: str, attributes: dict[str, str] | None = None) -> dict[str, Any]:
        with self._lock:
            if self._sent is None:
                self._sent = self._put(status, reason, attributes or {})
            return self._sent

    def _put(self, status: str, reason: str, attributes: dict[str, str]) -> dict[str, Any]:
        response = {
            "Status": status,
            "Reason": reason[:1000],  # CloudFormation takes 4 KB in all
            # Always the same, so that nothing is ever replaced.
            "PhysicalResourceId": self._request.get("PhysicalResourceId", self._request["LogicalResourceId"]),
            "Data": attributes,
            **{key: self._request[key] for key in ("StackId", "RequestId", "LogicalResourceId")},
        }
        body = json.dumps(response).encode()
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
            except HTTPException as fault:  # what was answered is no HTTP
                if pause is None:
                    raise ConnectionError(f"the response was not taken: {fault!r}") from fault
            time.sleep(pause)
        return response
