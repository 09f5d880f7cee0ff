"""The door: whose request it is, and what it may do. Behind it an owner is all that is known."""

import hmac
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

from order_engine.domain.access import ANYBODY, ApiKey, Caller, Scope, StoredKey, StreamSecrets
from order_engine.domain.errors import MissingScope, Unauthorized
from order_engine.ports import Keys

# For so long a revoked key may go on working, and a new one be unknown where it was asked for before.
CACHE_SECONDS = 30.0
_MOST_CACHED = 1000

_NO_DIGEST = "0" * 64  # of no key


class Access:
    """API keys for requests; for streams a key or the order's token. Without `keys` nobody is asked, and everything
    belongs to the owner `public`.

    What is looked up is kept for CACHE_SECONDS, misses too. `monotonic` counts seconds. Every method may raise
    ServiceUnavailable.
    """

    def __init__(self, keys: Keys | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._monotonic = monotonic
        self._found: OrderedDict[str, tuple[float, StoredKey | None]] = OrderedDict()
        self._streams: tuple[float, StreamSecrets | None] = (-math.inf, None)

    def caller(self, authorization: str | None, scope: Scope) -> Caller:
        """Return whose request it is by its Authorization header. Raises Unauthorized or MissingScope."""
        if self._keys is None:
            return ANYBODY
        scheme, _, credential = (authorization or "").partition(" ")
        key = ApiKey.parse(credential.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            raise Unauthorized("this needs an API key: Authorization: Bearer oe_...")
        stored = self._look_up(key.key_id)
        # One path for keys that are unknown, wrong or revoked, so that the time it takes tells nothing.
        right = hmac.compare_digest(key.digest, stored.digest if stored else _NO_DIGEST)
        if stored is None or stored.revoked_at is not None or not right:
            raise Unauthorized("the API key is not valid")
        if scope not in stored.scopes:
            raise MissingScope(scope)
        return Caller(stored.owner, stored.scopes, stored.key_id)

    def watcher(self, authorization: str | None, token: str | None, order_id: UUID) -> Caller | None:
        """Return to whom an order must belong for this socket to be opened to it; None if to anybody.

        Raises Unauthorized or MissingScope."""
        if self._keys is None:
            return None
        if token is None:
            return self.caller(authorization, Scope.READ)
        streams = self.streams()
        if streams is None or not streams.opens(token, order_id):
            raise Unauthorized("the token does not open this stream")
        return None

    def streams(self) -> StreamSecrets | None:
        """Return what makes the tokens that open streams; None where none is needed, or before the first key."""
        if self._keys is None:
            return None
        until, streams = self._streams
        if until <= self._monotonic() and (streams := self._keys.stream_secrets()):
            self._streams = (self._monotonic() + CACHE_SECONDS, streams)
        return streams

    def _look_up(self, key_id: str) -> StoredKey | None:
        now = self._monotonic()
        until, found = self._found.get(key_id, (now, None))
        if until <= now:
            found = self._keys.find(key_id) if self._keys else None
            self._found[key_id] = (now + CACHE_SECONDS, found)
            while len(self._found) > _MOST_CACHED:
                self._found.popitem(last=False)
        return found
