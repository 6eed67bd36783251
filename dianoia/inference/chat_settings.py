"""Settings of a conversation, as a person types them. No torch."""

from dataclasses import dataclass, replace
from typing import Any

from dianoia.base.errors import ConfigError, nearest


@dataclass(frozen=True, slots=True)
class Settings:
    """How questions are asked; None leaves the choice to the model."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    seed: int | None = None
    """The same seed gives the same answers; None: another one for each question."""
    history: bool = True
    """Earlier questions and answers go into the prompt."""
    system: str = ""

    def with_text(self, name: str, text: str, label: str = "") -> "Settings":
        """Return the settings with one of them changed, as a person types it; `default` for the model's own.

        `label` names it in messages, where it was typed otherwise. Raises ConfigError for an unknown name, a text that is no value of it, and a value out of range.
        """
        if name not in _READERS:
            raise ConfigError(
                f"{name!r} is no setting{nearest(name, _READERS)}; settings are {', '.join(_READERS)}"
            )
        if text in ("", "default", "none"):
            return replace(self, **{name: getattr(Settings(), name)})
        try:
            value: Any = _READERS[name](text)
        except ValueError as error:
            raise ConfigError(f"{label or name} = {text!r}: {_FORMS[name]}") from error
        if not _is_in_range(name, value):
            raise ConfigError(f"{label or name} = {text}: {_FORMS[name]}")
        return replace(self, **{name: value})


def _switch(text: str) -> bool:
    values = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
    if text.lower() not in values:
        raise ValueError(text)
    return values[text.lower()]


_READERS: dict[str, Any] = {
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "max_tokens": int,
    "seed": int,
    "history": _switch,
}
_FORMS = {
    "temperature": "it is a number from 0 to 2, such as 0.6; 0 always takes the likeliest token",
    "top_p": "it is a number above 0, 1 at most, such as 0.95",
    "top_k": "it is a whole number, 0 or more; 0 keeps the whole vocabulary",
    "max_tokens": "it is a whole number, 1 or more",
    "seed": "it is a whole number, 0 or more",
    "history": "it is on or off",
}


def _is_in_range(name: str, value: Any) -> bool:
    """Return True for a value that a sampler takes; comparisons with NaN are False."""
    if name == "temperature":
        return bool(0 <= value <= 2)
    if name == "top_p":
        return bool(0 < value <= 1)
    return isinstance(value, bool) or value >= (1 if name == "max_tokens" else 0)
