"""Who may do what: owners, API keys, and the tokens of streams."""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self
from uuid import UUID

from order_engine.domain.errors import UnknownOrder

# Whose orders are placed where no key is needed.
PUBLIC = "public"
OWNER_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_KEY_ID_LENGTH = 12
_SECRET_LENGTH = 43  # of 62 characters each: 256 bits
_CHECKSUM_LENGTH = 6  # CRC-32, as in GitHub's tokens: what is mistyped or cut off costs no look-up
KEY_ID = re.compile(rf"[0-9A-Za-z]{{{_KEY_ID_LENGTH}}}", re.ASCII)
_KEY = re.compile(
    rf"oe_([0-9A-Za-z]{{{_KEY_ID_LENGTH}}})_([0-9A-Za-z]{{{_SECRET_LENGTH}}})([0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})"
)
_TOKEN_BYTES = 16

# Longer than a function remembers the secrets (`use_cases.access`).
SETTLING = timedelta(seconds=60)
_CONNECTION_TOKEN = re.compile(rf"([0-9A-Za-z]{{{_KEY_ID_LENGTH}}})\.([0-9]{{1,12}})\.([0-9A-Za-z_-]+)", re.ASCII)


class Scope(StrEnum):
    """What a key allows."""

    TRADE = "trade"  # to place orders
    READ = "read"  # to look at the owner's


@dataclass(frozen=True)
class Caller:
    """Who makes a request: everything of an order belongs to its `owner`. `key_id` is empty where no key is needed."""

    owner: str
    scopes: frozenset[Scope]
    key_id: str = ""

    def check_owns(self, order_id: UUID, owner: str) -> None:
        """Raises UnknownOrder for another owner's order: it is as unknown as none."""
        if owner != self.owner:
            raise UnknownOrder(str(order_id))


ANYBODY = Caller(PUBLIC, frozenset(Scope))


@dataclass(frozen=True)
class ApiKey:
    """A key as its holder has it: `oe_<keyId>_<secret><checksum>`. It is shown once, and never stored."""

    key_id: str
    secret: str

    @classmethod
    def draw(cls) -> Self:
        """Return a new key, from the system's random numbers."""
        return cls(*(_random(length) for length in (_KEY_ID_LENGTH, _SECRET_LENGTH)))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the key of a text, or None if it can't be one."""
        match = _KEY.fullmatch(text)
        key = cls(match[1], match[2]) if match else None
        return key if key and key.text == text else None

    @property
    def text(self) -> str:
        """The key as it is sent."""
        body = f"oe_{self.key_id}_{self.secret}"
        return body + _checksum(body)

    @property
    def digest(self) -> str:
        """What is stored of it. The secret is random, so that no slow hash is needed."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __repr__(self) -> str:
        """The secret stays out of logs and tracebacks."""
        return f"ApiKey({self.key_id})"


@dataclass(frozen=True)
class StoredKey:
    """What is kept of a key; `created_by` and `revoked_by` name operators."""

    key_id: str
    owner: str
    scopes: frozenset[Scope]
    digest: str
    created_at: datetime
    created_by: str
    revoked_at: datetime | None = None
    revoked_by: str | None = None

    @classmethod
    def of(cls, key: ApiKey, owner: str, scopes: Iterable[str], at: datetime, by: str) -> Self:
        """Return what is to be kept of a new key. Raises ValueError, which says what an owner or a scope must be."""
        if not OWNER_NAME.fullmatch(owner) or owner == PUBLIC:
            raise ValueError(f"an owner is named by 1 to 63 of a-z, 0-9 and - (not {PUBLIC!r}), and {owner!r} is not")
        allowed = frozenset(scopes)
        if not allowed or not allowed <= {*Scope}:
            raise ValueError(f"scopes are {' and '.join(Scope)}, or one of them, not {','.join(sorted(allowed))!r}")
        return cls(key.key_id, owner, frozenset(Scope(one) for one in allowed), key.digest, at, by)


@dataclass(frozen=True)
class StreamSecrets:
    """What the tokens of streams are made with, newest first. A token of the one before is still accepted, so that a
    rotation cuts nobody off at once, and a second one revokes. A new one is used SETTLING after it was `made_at`: by
    then everybody who checks tokens knows it."""

    secrets: tuple[str, ...]
    made_at: datetime | None = None  # an earlier release noted no time

    @classmethod
    def rotated(cls, at: datetime, before: "StreamSecrets | None" = None) -> Self:
        """Return new secrets: another one in front."""
        return cls((secrets.token_urlsafe(32), *(before.secrets[:1] if before else ())), at)

    def token(self, order_id: UUID, at: datetime) -> str:
        """Return the token that opens the order's stream alone; the same one until the secrets are rotated."""
        return _token(self._in_use(at), f"stream {order_id}")

    def opens(self, token: str, order_id: UUID) -> bool:
        """Return whether a token opens the order's stream."""
        return self._has_made(token, f"stream {order_id}")

    def connection_token(self, key_id: str, until: datetime, at: datetime) -> str:
        """Return a token that opens connections as the key does, until then: `<keyId>.<epoch seconds>.<HMAC>`."""
        seconds = int(until.timestamp())
        return f"{key_id}.{seconds}.{_token(self._in_use(at), f'connection {key_id} {seconds}')}"

    def connects(self, token: str, at: datetime) -> str | None:
        """Return the key, by its id, as which a token opens connections at this moment."""
        match = _CONNECTION_TOKEN.fullmatch(token)
        if match is None or not self._has_made(match[3], f"connection {match[1]} {match[2]}"):
            return None
        return match[1] if int(match[2]) > at.timestamp() else None

    def _in_use(self, at: datetime) -> str:
        settling = self.made_at is not None and at - self.made_at < SETTLING
        return self.secrets[-1 if settling else 0]

    def _has_made(self, token: str, of: str) -> bool:
        given = token.encode(errors="replace")  # JSON may have halves of surrogates
        return sum(hmac.compare_digest(given, _token(one, of).encode()) for one in self.secrets) > 0

    def __repr__(self) -> str:
        """They stay out of logs and tracebacks."""
        return f"StreamSecrets({len(self.secrets)})"


def _random(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    while number:
        number, digit = divmod(number, len(_BASE62))
        digits = _BASE62[digit] + digits
    return digits.rjust(_CHECKSUM_LENGTH, "0")


def _token(secret: str, of: str) -> str:
    digest = hmac.new(secret.encode(), of.encode(), hashlib.sha256).digest()
    return urlsafe_b64encode(digest[:_TOKEN_BYTES]).rstrip(b"=").decode()
