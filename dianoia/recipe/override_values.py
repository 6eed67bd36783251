"""Values as people type them behind `--set`, read again where the key's type makes their meaning plain. No torch.

TOML reads `1e3` as a number with a fraction, `2024` as a number and `.5` not at all. In: the text, and the error that
validation has with what TOML made of it. Out: the value that was meant; or None, and `cure` says what to write.
"""

import re
from datetime import date, time
from pathlib import Path
from typing import Any

_NUMBER = re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d[\d_]*")
_TRUTH = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}
_NOTHING = ("none", "null", "nil")
_LONGEST = 18
"""Digits of a whole number: no key wants more."""


def meant(text: str, kind: str) -> tuple[Any] | None:
    """The value that a text means for a key of pydantic's error type `kind`, in a tuple; None where it is not plain."""
    text = text.strip()
    match kind:
        case "int_type" | "int_from_float" | "int_parsing":
            return _whole(text)
        case "float_type" | "float_parsing":
            if text.lower() in _NOTHING:
                return (None,)
            return (float(text.replace("_", "")),) if _NUMBER.fullmatch(text) else None
        case "string_type":
            return (text,) if text and Path(text).expanduser().exists() else None
        case "bool_type" | "bool_parsing":
            truth = _TRUTH.get(text.lower())
            return None if truth is None else (truth,)
        case _:
            return None


def _whole(text: str) -> tuple[Any] | None:
    if text.lower() in _NOTHING:
        return (None,)
    if len(text) > _LONGEST or not _NUMBER.fullmatch(text):
        return None
    if _WHOLE.fullmatch(text):
        return (int(text.replace("_", "")),)
    value = float(text.replace("_", ""))
    if "e" not in text.lower():  # 2.0 steps are no whole number: perhaps another key was meant
        return None
    return (int(value),) if value.is_integer() and abs(value) < 10**_LONGEST else None


def cure(value: Any, kind: str, key: str = "") -> str:
    """What to write instead of a value of the wrong type; empty where the message says it.

    `key`: of the `--set` that has given it, whose quotes a shell would take away.
    """
    text, listed = _in_quotes(value), f"[{_quoted(value)}]"
    shown = f"--set '{key}={text}'" if key else text
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case "int_type" | "int_from_float":
            if isinstance(value, float) and value.is_integer():
                return f"; write {int(value)}"
            if isinstance(value, str):
                return _of_text(value)
            return (
                f"; write a whole number, such as {round(value)}"
                if plain
                else "; write a whole number"
            )
        case "float_type":
            return (
                _of_text(value)
                if isinstance(value, str)
                else "; write a number, such as 0.5 or 1e-6"
            )
        case "string_type":
            if plain or isinstance(value, bool | date | time):
                return f"; it is a text here, so write {shown}"
            return '; write a text in quotes, such as "miniature-base"'
        case "bool_type":
            return "; write true or false"
        case "list_type":
            return "; it is a list here, so write " + (f"--set '{key}={listed}'" if key else listed)
        case "model_type" | "model_attributes_type" | "dict_type":
            return "; it is a table here, so set one of its keys, as in --set zero.sampling.max_tokens=512"
        case "finite_number":
            return "; leave the key out where nothing is to be bounded"
        case _:
            return ""


def _of_text(value: str) -> str:
    """For a text where a number is needed."""
    text = value.strip()
    if not text:
        return "; the value is empty: write a number behind the equals sign"
    if text.endswith("%") and _NUMBER.fullmatch(text[:-1]):
        return f"; write {float(text[:-1]) / 100:g}"
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+", text):
        return f"; write {text.replace(',', '')} or {text.replace(',', '_')}"
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        return f"; write {text.replace(',', '.')}"
    power = re.fullmatch(r"([+-]?[\d.]+)\s*(?:\*|x|·|×)\s*10(?:\^|\*\*)([+-]?\d+)", text)
    if power:
        return f"; write {power[1]}e{power[2]}"
    unit = re.fullmatch(r"([\d.]+)\s*([kKmM])", text)
    if unit:
        factor = 1000 if unit[2] in "kK" else 1_000_000
        return f"; write {float(unit[1]) * factor:.0f}"
    if _NUMBER.fullmatch(text):
        return f"; write it without quotes: {float(text.replace('_', '')):g}"
    return "; write a number"


def _in_quotes(value: Any) -> str:
    return f'"{str(value).lower() if isinstance(value, bool) else value}"'


def _quoted(value: Any) -> str:
    if isinstance(value, str):
        names = [name.strip().strip("\"'") for name in value.strip().strip("[]").split(",")]
        return ", ".join(f'"{name}"' for name in names if name)
    return str(value)
