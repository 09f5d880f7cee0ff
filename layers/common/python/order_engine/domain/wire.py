"""The base of everything that is stored or sent as JSON."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class WireModel(BaseModel):
    """A frozen model: camelCase and decimal strings in JSON, snake_case and Decimal in Python.

    Unknown fields are ignored, so that a release can read what a later one stored, after a rollback.
    """

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    def to_json(self) -> str:
        """Serialize without the fields that have their defaults: an earlier release may not know them."""
        return self.model_dump_json(by_alias=True, exclude_defaults=True)
