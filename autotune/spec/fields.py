"""The kinds of values in study files, and the base of their sections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from autotune.domain.registry import Registry

AUTO = "auto"
"""The value of ``start_with`` that names no strategies, and of ``train_samples`` that leaves the
number to the budget."""

EPOCHS = r"^([1-9]\d*(\.\d+)?|0?\.\d*[1-9]\d*) epochs?$"
"""A positive number of epochs."""

UNKNOWN_NAME = "unknown_name"
"""Type of the pydantic error for a name that is not in its registry."""


@dataclass(frozen=True, eq=False)
class NameIn:
    """Annotates text that must be a name of ``registry`` when it is validated, so that the names
    which plug-ins registered are valid too."""

    registry: Registry[Any]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._check, json_schema_input_schema=core_schema.str_schema()
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        records = self.registry.values()
        return {"oneOf": [{"const": r.name, "description": r.summary} for r in records]}

    def _check(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.registry:
            names = ", ".join(self.registry)
            raise PydanticCustomError(UNKNOWN_NAME, "unknown name", {"names": names})
        return value


FinitePoints = Annotated[float, Field(allow_inf_nan=False)]
StudyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
NonEmptyText = Annotated[str, Field(min_length=1)]
PositiveNumber = Annotated[float, Field(gt=0)]
FiniteNumber = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Price = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Epochs = Annotated[str, Field(pattern=EPOCHS)]
DiskSpace = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """Base of all sections: rejects unknown keys, text in place of numbers, and infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def without_auto(value: Any) -> Any:
    """``None`` for a number that is left to the data or to the budget."""
    return None if value == AUTO else value


def short_form(key: str, *kinds: type) -> Callable[[Any], Any]:
    """Accept a bare value of one of ``kinds`` as short for the mapping ``{key: value}``."""
    return lambda value: {key: value} if isinstance(value, kinds) else value
