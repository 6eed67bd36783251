"""The base class of the tables of a recipe."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A table of a recipe: frozen, strictly typed, unknown keys refused. Field docstrings are the help."""

    # frozen: a recipe is checked once, and a change after that would go unchecked. extra: a misspelt key is an error.
    # strict: TOML has types, so "8" for 8 is a mistake and not a number. Docstrings become the fields' descriptions.
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
