"""Problem sets: a `[data.NAME]` table that says where the rows are and what their columns mean, or a name alone."""

from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from dianoia.config.settings import Settings


class FileSettings(Settings):
    """Files, a folder or a hub name, and the meaning of the columns."""

    path: str = Field(min_length=1)
    """A file (JSON, JSONL, CSV, TSV, each also as .gz; Parquet; Arrow), a folder of them or one that `save_to_disk` wrote, or a hub name."""
    config: str | None = None
    """Hub names: the configuration, such as `main`; absent: the one that is usual for a set with a ready mapping."""
    split: str | None = None
    """The split, of a hub name or of a folder that holds several; absent: `train`, or the only one."""
    mapping: str | None = None
    """A ready mapping of a set's columns; absent: the one of the hub name, or of a file whose first rows have them."""
    # Example: columns = { question = "problem.text", answer = "final" }.
    columns: dict[str, str] = {}
    """Column of Dianoia = column of the file; dots lead into a column that is an object. Read before a `mapping`."""
    verifier: str | None = None
    """Of rows that name none."""
    domain: str | None = None
    """Of rows that name none."""
    # Two lower-case letters, as problems are checked for; `zh-CN` is refused.
    language: str | None = Field(default=None, pattern=r"^[a-z]{2}$")
    """ISO 639-1 code of rows that name none; absent: the language most of a question's words are in."""

    def __str__(self) -> str:
        """Return the path, configuration and split, for messages."""
        return " ".join(filter(None, (self.path, self.config, self.split)))

    # Messages show `problems = ...`, in which the whole table would be too long.
    __repr__ = __str__

    @model_validator(mode="after")
    def _columns_are_named(self) -> Self:
        # An empty text is a valid TOML key and value, and would be looked up as a column.
        empty = [name for name, source in self.columns.items() if not (name and source)]
        if empty:
            raise ValueError(
                f"columns.{empty[0]} = {self.columns[empty[0]]!r} names no column; write the column of the file"
            )
        return self


def table_or_name(value: Any) -> str:
    """Return the pydantic tag of a table or of a name, for keys that take either."""
    return "@table" if isinstance(value, dict | FileSettings) else "@name"


# With a tag, an error in a table is reported for the table alone, and not once more for "neither is it a name".
Tests = Annotated[
    Annotated[str, Tag("@name")] | Annotated[FileSettings, Tag("@table")],
    Discriminator(table_or_name),
]


class DataSettings(FileSettings):
    """A set of problems: where it is, how it is read, and which of them are used."""

    # Belongs to the set and not to a stage, so that all stages of a recipe divide it in the same way.
    heldout_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the questions that is held out, by a hash of their words."""
    decontaminate: list[Tests] = []
    """Sets, files or `[data]` names of tests that training has to be kept clear of."""


Problems = Annotated[
    Annotated[str, Tag("@name")] | Annotated[DataSettings, Tag("@table")],
    Discriminator(table_or_name),
]
"""A set of the catalogue, a file, a folder, a known hub name or the name of a `[data]` table; or such a table."""


def path_of(problems: str | FileSettings) -> str:
    """Return the name, or the path of a table."""
    return problems if isinstance(problems, str) else problems.path
