"""Every setting of the functions, from the environment that the template gives them; README.md lists them."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass


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
