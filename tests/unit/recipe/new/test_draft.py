"""The text of a new recipe: TOML that reads back as what was put in, with each reason beside its key."""

import tomllib
from typing import Any

import pytest

from dianoia.recipe.new.draft import Draft, Table, toml_value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (8, "8"),
        (12_345, "12_345"),
        (2e-4, "2e-4"),
        (1.5e-5, "1.5e-5"),
        (0.001, "0.001"),
        (0.0, "0.0"),
        (1.0, "1.0"),
        ('a "b" \\boxed{}', '"a \\"b\\" \\\\boxed{}"'),
        (["a", 2], '["a", 2]'),
        ({"a-1": 2, "Qwen/Qwen3-0.6B": "r1"}, '{ a-1 = 2, "Qwen/Qwen3-0.6B" = "r1" }'),
        ([{"path": "数据.jsonl", "weight": 0.5}], '[{ path = "数据.jsonl", weight = 0.5 }]'),
    ],
)
def test_values_as_people_write_them(value: Any, text: str) -> None:
    assert toml_value(value) == text
    assert tomllib.loads(f"key = {text}")["key"] == value


def test_reasons_stand_in_a_column_and_wrap_below_one_another() -> None:
    table = Table("stages.zero", comment="A stage.").add("steps", 20, "ours").add("start", "base")
    table.add("group_size", 16, " ".join(["word"] * 30))
    lines = Draft("Two\nlines", [Table("").add("name", "mine"), table]).as_toml().splitlines()
    assert lines[:6] == ["# Two", "# lines", 'name = "mine"', "", "# A stage.", "[stages.zero]"]
    assert lines[6:8] == ["steps = 20                      # ours", 'start = "base"']
    assert lines[8].startswith("group_size = 16                 # word word")
    assert lines[9].startswith(" " * 32 + "# word") and all(len(line) <= 120 for line in lines)


def test_a_key_is_set_in_its_table_or_in_a_new_one() -> None:
    tables = [Table("stages.zero").add("steps", 1), Table("stages.zero.sampling").add("slots", 9)]
    draft = Draft("", [*tables, Table("stages.zero-2").add("steps", 1)])
    draft.set("zero", "recompute", True, "memory")
    draft.set("zero", "sampling.slots", 4, "memory")
    draft.set("zero", "algorithm.kl_coefficient", 0.0, "memory")
    recipe = tomllib.loads(draft.as_toml())["stages"]
    assert recipe["zero"] == {
        "steps": 1, "recompute": True, "sampling": {"slots": 4}, "algorithm": {"kl_coefficient": 0.0},
    }  # fmt: skip
    assert [table.header for table in draft.tables][2:] == [
        "stages.zero.algorithm",
        "stages.zero-2",
    ]
