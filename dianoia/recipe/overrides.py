"""Overrides, such as `--set zero.steps=10`: put into a recipe's table, and their values read as people type them. No torch.

TOML reads `1e3` as a number with a fraction, `2024` as a number and `.5` not at all. In: the table of a recipe, the text
of an override, and the error that validation had with TOML's reading of its value. Out: the table with the intended
value, if there is only one reading; otherwise `correction` says what to write.
"""

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any

from dianoia.base.errors import ConfigError, nearest

_NUMBER = re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE_NUMBER = re.compile(r"[+-]?\d[\d_]*")
_TRUTH_VALUES = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}
_NONE_WORDS = ("none", "null", "nil")
_MAX_DIGITS = 18
"""Digits of a whole number; no key needs more."""
_TOP_LEVEL_TABLES = ("stages", "claims", "data", "templates", "track")


# Keys --------------------------------------------------------------------------------------------


def short_key(override: str) -> str:
    """Return the key of an override as messages name it, without `stages.`."""
    return override.partition("=")[0].strip().removeprefix("stages.")


def apply_override(table: dict[str, Any], override: str) -> None:
    """Put one `stage.key=value` into the table of a recipe; top-level keys such as `seed` have no stage.

    Raises:
        ConfigError: the override has another form, or names a stage or table that does not exist.
    """
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(
            f"--set {override}: expected stage.key=value, e.g. --set zero.group_size=8"
        )
    if len(parts) > 1 and parts[0] not in _TOP_LEVEL_TABLES:
        parts = ["stages", *parts]
    stages = table.get("stages", {})
    if not isinstance(stages, dict):
        return  # the file itself is wrong, which validation will report
    if parts[0] == "stages" and len(parts) > 1 and parts[1] not in stages:
        raise ConfigError(f"--set {override}: {no_such_stage(parts[1], stages)}")
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override}: {part!r} is a value, not a table")
    # A table may be set as a whole too, as in --set 'zero.rewards={format=0.5}'.
    table[parts[-1]] = _toml_value(text.strip())


def no_such_stage(name: str, stages: Collection[str]) -> str:
    """Return the message on a stage that the recipe does not have."""
    return (
        f"the recipe has no stage {name!r}{nearest(name, stages)}; its stages: {', '.join(stages)}"
    )


def _toml_value(text: str) -> Any:
    """Return the value as TOML reads it (8, 0.5, true, [1, 2]); a bare word is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


# Values ------------------------------------------------------------------------------------------


def reread_values(
    table: dict[str, Any], typed: Mapping[str, str], errors: Iterable[tuple[str, str]]
) -> list[str]:
    """Replace override values of the wrong type in the table by what was meant; return the short keys that changed.

    `typed`: overrides by short key; `errors`: keys with pydantic's error types.
    """
    changed = []
    for key, error_type in errors:
        override = typed.get(key.removeprefix("stages."))
        if override is None:
            continue
        value = intended_value(override.partition("=")[2], error_type)
        if value is not None:
            _assign(table, key.split("."), value[0])
            changed.append(short_key(override))
    return changed


def _assign(table: Any, parts: Sequence[str], value: Any) -> None:
    for part in parts[:-1]:
        table = table[int(part)] if isinstance(table, list) else table[part]
    table[parts[-1]] = value


def intended_value(text: str, error_type: str) -> tuple[Any] | None:
    """Return the value that a text means for a key with this error type, in a tuple; None if that is unclear.

    The tuple tells the value None from no value.
    """
    text = text.strip()
    match error_type:
        case "int_type" | "int_from_float" | "int_parsing":
            return _whole_number(text)
        case "float_type" | "float_parsing":
            if text.lower() in _NONE_WORDS:
                return (None,)
            return (float(text.replace("_", "")),) if _NUMBER.fullmatch(text) else None
        case "string_type":  # a folder may be called 2024
            return (text,) if text and Path(text).expanduser().exists() else None
        case "bool_type" | "bool_parsing":
            truth = _TRUTH_VALUES.get(text.lower())
            return None if truth is None else (truth,)
        case _:
            return None


def _whole_number(text: str) -> tuple[Any] | None:
    if text.lower() in _NONE_WORDS:
        return (None,)
    if len(text) > _MAX_DIGITS or not _NUMBER.fullmatch(text):
        return None
    if _WHOLE_NUMBER.fullmatch(text):
        return (int(text.replace("_", "")),)
    value = float(text.replace("_", ""))
    if "e" not in text.lower():  # 2.0 for a number of steps: perhaps another key was meant
        return None
    return (int(value),) if value.is_integer() and abs(value) < 10**_MAX_DIGITS else None


# Corrections -------------------------------------------------------------------------------------


def correction(value: Any, error_type: str, key: str = "") -> str:
    """Return what to write instead of a value of the wrong type, as the end of a sentence; empty if unknown.

    `key`: that of the `--set` which gave the value; a shell would remove its quotes.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match error_type:
        case "int_type" | "int_from_float":
            return _whole_number_correction(value, number)
        case "float_type":
            if isinstance(value, str):
                return _number_correction(value)
            return "; write a number, such as 0.5 or 1e-6"
        case "string_type":
            if number or isinstance(value, bool | date | time):
                return f"; it is a text here, so write {_typed(_quoted(value), key)}"
            return '; write a text in quotes, such as "miniature-base"'
        case "bool_type":
            return "; write true or false"
        case "list_type":
            return f"; it is a list here, so write {_typed(f'[{_quoted_list(value)}]', key)}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "; it is a table here, so set one of its keys, as in --set zero.sampling.max_tokens=512"
        case "finite_number":
            return "; leave the key out for no bound"
        case _:
            return ""


def _typed(text: str, key: str) -> str:
    """Return a value as it is typed: in a file, or behind --set in quotes that the shell removes."""
    return f"--set '{key}={text}'" if key else text


def _whole_number_correction(value: Any, number: bool) -> str:
    if isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if isinstance(value, str):
        return _number_correction(value)
    return f"; write a whole number, such as {round(value)}" if number else "; write a whole number"


def _number_correction(value: str) -> str:
    """Return the correction of a text that should be a number."""
    text = value.strip()
    if not text:
        return "; the value is empty: write a number after the equals sign"
    if text.endswith("%") and _NUMBER.fullmatch(text[:-1]):
        return f"; write {float(text[:-1]) / 100:g}"
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+", text):  # 1,000
        return f"; write {text.replace(',', '')} or {text.replace(',', '_')}"
    if re.fullmatch(r"[+-]?\d+,\d+", text):  # 1,5
        return f"; write {text.replace(',', '.')}"
    power = re.fullmatch(r"([+-]?[\d.]+)\s*(?:\*|x|·|×)\s*10(?:\^|\*\*)([+-]?\d+)", text)
    if power:  # 3x10^-6
        return f"; write {power[1]}e{power[2]}"
    suffix = re.fullmatch(r"([\d.]+)\s*([kKmM])", text)
    if suffix:  # 10k
        factor = 1000 if suffix[2] in "kK" else 1_000_000
        return f"; write {float(suffix[1]) * factor:.0f}"
    if _NUMBER.fullmatch(text):
        return f"; write it without quotes: {float(text.replace('_', '')):g}"
    return "; write a number"


def _quoted(value: Any) -> str:
    return f'"{str(value).lower() if isinstance(value, bool) else value}"'


def _quoted_list(value: Any) -> str:
    """Return the elements of a list that was typed without quotes or brackets."""
    if isinstance(value, str):
        names = [name.strip().strip("\"'") for name in value.strip().strip("[]").split(",")]
        return ", ".join(f'"{name}"' for name in names if name)
    return str(value)
