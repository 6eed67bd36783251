"""Every key of a recipe with type, default and meaning."""

from dianoia.recipe.keys import Key, KeyTable, key_tables
from dianoia.recipe.load import KINDS


def table(name: str) -> KeyTable:
    (match,) = (table for table in key_tables() if table.name == name)
    return match


def key(kind: str, name: str) -> Key:
    (match,) = (key for key in table(kind).keys if key.name == name)
    return match


def test_there_is_a_table_per_kind_and_per_other_table() -> None:
    others = ["data", "templates", "claims", "track"]
    assert [table.name for table in key_tables()] == ["recipe", *KINDS, *others]


def test_types_and_defaults_are_as_toml_has_them() -> None:
    steps = key("rl", "steps")
    assert (steps.types, steps.default, steps.is_value) == (("integer",), "required", False)
    split = key("rl", "split")
    assert split.types == ('"group", "sample"',)
    assert (split.default, split.is_value) == ('"group"', True)
    assert key("rl", "sampling.longer").types == ("list of tables",)
    assert key("rl", "lora").default == "absent"
    assert key("rl", "optimizer.learning_rate").types == ("number",)


def test_tables_have_lists_of_their_own() -> None:
    names = [key.name for key in table("recipe").keys]
    assert {"name", "seed", "data", "templates"} <= set(names)
    assert not [
        name for name in names if name.startswith(("stages", "claims", "data.", "templates."))
    ]
    assert not [name for name in (key.name for key in table("rl").keys) if name == "sampling"]


def test_every_key_has_a_meaning() -> None:
    silent = [
        f"{table.name}.{key.name}"
        for table in key_tables()
        for key in table.keys
        if not key.meaning
    ]
    assert not silent
