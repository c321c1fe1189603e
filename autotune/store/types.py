"""Column types with the same values on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from math import isnan
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Double, Integer
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time, always read as an aware datetime in UTC. SQLite stores no time zone, so UTC
    is written.

    A naive datetime is interpreted as local time, as in :meth:`datetime.astimezone`.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Real(TypeDecorator[float]):
    """A 64-bit float. SQLite converts NaN to NULL ("not measured"), so NaN is stored as text
    there.
    """

    impl = Double()
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        return _nan_as_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        return _text_as_nan if dialect.name == "sqlite" else None


class CheckedInteger(TypeDecorator[int]):
    """An integer. SQLite stores any value in any column, so what is read is checked.

    :raises ValueError: when a row with another value is read.
    """

    impl = Integer()
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        if value is not None and not isinstance(value, int):
            raise ValueError(f"{value!r:.40} is not a whole number")
        return value


class CheckedBigInteger(CheckedInteger):
    """An integer of 64 bits."""

    impl = BigInteger()
    cache_ok = True


def _nan_as_text(value: float | None) -> float | str | None:
    return "NaN" if value is not None and isnan(value) else value


def _text_as_nan(value: float | str | None) -> float | None:
    return float(value) if isinstance(value, str) else value
