"""The base class of the tables of a recipe."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Shard = Literal["auto", "none", "node", "all"]
"""How ranks hold a model in training; a key of every stage that trains."""
MACHINE_KEYS = frozenset({"shard"})
"""Keys of stages that belong to the machine and not to the results: a stage that is done stays done when they change."""


class Settings(BaseModel):
    """A table of a recipe: frozen, strictly typed, unknown keys refused. Field docstrings are the help."""

    # frozen: a recipe is checked once, and a change after that would go unchecked. extra: a misspelt key is an error.
    # strict: TOML has types, so "8" for 8 is a mistake and not a number. Docstrings become the fields' descriptions.
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
