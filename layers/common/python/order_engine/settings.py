"""Every setting of the functions, from the environment that the template gives them; README.md lists them."""

import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime


class MissingSetting(Exception):
    """The environment lacks a setting, or has one that can't be read; the message names it and what would be right."""


@dataclass(frozen=True)
class Settings:
    """The environment, read when asked: a function needs only what it uses."""

    environment: Mapping[str, str]

    @classmethod
    def from_environment(cls) -> "Settings":
        """The settings of this process."""
        return cls(os.environ)

    def text(self, name: str) -> str:
        """A setting that must be there. Raises MissingSetting."""
        value = self.environment.get(name, "")
        if not value:
            raise MissingSetting(f"{name} is not set")
        return value

    def optional(self, name: str) -> str:
        """A setting that may be empty."""
        return self.environment.get(name, "")

    def number(self, name: str, default: float, highest: float = float("inf")) -> float:
        """A number from 0 to `highest`. Raises MissingSetting for anything else."""
        value = self.environment.get(name, "")
        if not value:
            return default
        try:
            number = float(value)
        except ValueError:
            number = -1
        if not 0 <= number <= highest or math.isinf(number):
            raise MissingSetting(f"{name} must be a number from 0 to {highest:g}, not {value!r}")
        return number

    def milliseconds(self, name: str, default: tuple[int, int]) -> tuple[int, int]:
        """A range such as 200-500, or one number. Raises MissingSetting for anything else."""
        value = self.environment.get(name, "")
        if not value:
            return default
        low, _, high = value.partition("-")
        try:
            bounds = int(low), int(high or low)
        except ValueError:
            bounds = (-1, -1)
        if not 0 <= bounds[0] <= bounds[1]:
            raise MissingSetting(f"{name} must be milliseconds such as 200-500 or 0, not {value!r}")
        return bounds

    def moments(self, name: str, known: Collection[str]) -> dict[str, datetime]:
        """Moments (aware, UTC) by name, such as NOVA=2026-12-01T12:00:00Z,ORBIT=2027-01-01T00:00:00Z; none if it is
        empty. Raises MissingSetting for anything else, such as a name that is not `known` or a time without a zone."""
        value, found = self.environment.get(name, ""), dict[str, datetime]()
        for part in value.split(",") if value else ():
            key, _, text = part.partition("=")
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                moment = datetime.min  # noqa: DTZ901 - it has no zone, which is refused below
            if key not in known or key in found or moment.tzinfo is None:
                raise MissingSetting(
                    f"{name} must be moments of {', '.join(known)}, such as {next(iter(known))}=2026-12-01T12:00:00Z, "
                    f"with commas in between, not {value!r}"
                )
            found[key] = moment.astimezone(UTC)
        return found
