"""The door: whose request it is, and what it may do. Behind it an owner is all that is known."""

import hmac
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from order_engine.domain.access import ANYBODY, ApiKey, Caller, Scope, StoredKey, StreamSecrets
from order_engine.domain.refusals import MissingScope, Unauthorized
from order_engine.ports import Clock, Keys

# For so long a revoked key may go on working, and a new one be unknown where it was asked for before.
CACHE_SECONDS = 30.0
_MOST_CACHED = 1000

# For so long a connection can be opened with a token that a key has asked for.
TOKEN_LIFETIME = timedelta(minutes=5)

_NO_DIGEST = "0" * 64  # of no key


class Access:
    """API keys for requests; for streams a key or the order's token. Without `keys` nobody is asked, and everything
    belongs to the owner `public`.

    What is looked up is kept for CACHE_SECONDS, misses too. `monotonic` counts seconds. Every method may raise
    ServiceUnavailable.
    """

    def __init__(self, keys: Keys | None, now: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._now = now
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
            said = "this needs an API key" if not credential else "that is no API key, or a mistyped one"
            raise Unauthorized(f"{said}: Authorization: Bearer oe_...")
        stored = self._look_up(key.key_id)
        # One path for keys that are unknown, wrong or revoked, so that the time it takes tells nothing.
        right = hmac.compare_digest(key.digest, stored.digest if stored else _NO_DIGEST)
        if stored is None or stored.revoked_at is not None or not right:
            raise Unauthorized("the API key is not valid")
        return _let_in(stored, scope)

    def watcher(self, authorization: str | None, token: str | None, order_id: UUID) -> Caller | None:
        """Return to whom an order must belong for this socket to be opened to it; None if to anybody.

        Raises Unauthorized or MissingScope."""
        if self._keys is None:
            return None
        if token is None:
            return self.caller(authorization, Scope.READ)
        self._check_token(token, order_id)
        return None

    def subscriber(self, key_id: str, token: str | None, order_id: UUID) -> Caller | None:
        """Return the same for a socket that is open, by the key that it was opened with (empty if by none).

        Raises Unauthorized or MissingScope."""
        if self._keys is None:
            return None
        if token is None:
            return self._holder(key_id)
        self._check_token(token, order_id)
        return None

    def connector(self, authorization: str | None, token: str | None) -> Caller:
        """Return who opens a socket for no order yet, by a key or by a token of `connection_token`.

        Raises Unauthorized or MissingScope."""
        if self._keys is None or token is None:
            return self.caller(authorization, Scope.READ)
        streams = self.streams()
        key_id = streams.connects(token, self._now()) if streams else None
        if key_id is None:
            raise Unauthorized("the token opens no connection, or no longer")
        return self._holder(key_id)

    def connection_token(self, caller: Caller) -> tuple[str, datetime] | None:
        """Return a token that opens sockets as the caller's key does, and until when; None where none is needed."""
        streams, until = self.streams(), self._now() + TOKEN_LIFETIME
        return (streams.connection_token(caller.key_id, until, self._now()), until) if streams else None

    def streams(self) -> StreamSecrets | None:
        """Return what makes the tokens that open streams; None where none is needed, or before the first key."""
        if self._keys is None:
            return None
        until, streams = self._streams
        if until <= self._monotonic() and (streams := self._keys.stream_secrets()):
            self._streams = (self._monotonic() + CACHE_SECONDS, streams)
        return streams

    def _check_token(self, token: str, order_id: UUID) -> None:
        streams = self.streams()
        if streams is None or not streams.opens(token, order_id):
            raise Unauthorized("the token does not open this stream")

    def _holder(self, key_id: str) -> Caller:
        """Return who has a key, of which its secret was checked before."""
        stored = self._look_up(key_id) if key_id else None
        if stored is None or stored.revoked_at is not None:
            raise Unauthorized("this needs an API key that is valid, or the order's token")
        return _let_in(stored, Scope.READ)

    def _look_up(self, key_id: str) -> StoredKey | None:
        now = self._monotonic()
        until, found = self._found.get(key_id, (now, None))
        if until <= now:
            found = self._keys.find(key_id) if self._keys else None
            self._found[key_id] = (now + CACHE_SECONDS, found)
            while len(self._found) > _MOST_CACHED:
                self._found.popitem(last=False)
        return found


def _let_in(stored: StoredKey, scope: Scope) -> Caller:
    if scope not in stored.scopes:
        raise MissingScope(scope)
    return Caller(stored.owner, stored.scopes, stored.key_id)
