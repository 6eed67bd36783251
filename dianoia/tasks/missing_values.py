"""Values that say that there is none, whatever wrote them: null, and the NaN that pandas writes for an empty cell."""

from decimal import Decimal
from typing import Any


def is_missing(value: object) -> bool:
    """Whether a value says that there is none: None, NaN as a float or a decimal, pandas' NA and NaT."""
    if value is None or isinstance(value, str):
        return value is None
    if isinstance(value, float):
        return value != value
    if isinstance(value, Decimal):
        return value.is_nan()
    return type(value).__name__ in ("NAType", "NaTType")


def without_missing(columns: dict[str, Any]) -> dict[str, Any]:
    """Columns with None for every value that is missing."""
    return {name: None if is_missing(value) else value for name, value in columns.items()}
