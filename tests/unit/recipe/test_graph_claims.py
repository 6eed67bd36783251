"""The `[claims]` table: parts that are there, and mistakes that are named with what was meant."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError
from dianoia.recipe import load_recipe
from tests.unit.recipe.conftest import TEXT

Write = Callable[[str], Path]


def test_parts_are_stages_or_evaluated_checkpoints(write: Write) -> None:
    path = write(TEXT + '[claims]\nzero = "zero"\nbase = "base"\n')
    assert load_recipe(path).claims.parts == {"base": "base", "zero": "zero"}
    assert load_recipe(write(TEXT)).claims.parts == {}


def test_an_override_reaches_the_table(write: Write) -> None:
    assert load_recipe(write(TEXT), ["claims.zero=zero"]).claims.zero == "zero"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('zeor = "zero"', "claims.zeor: unknown key, value 'zero' (did you mean 'zero'?)"),
        (
            'zero = "zeroo"',
            "claims.zero = 'zeroo': no stage of this recipe trains or evaluates such a model",
        ),
        ('zero = "zeroo"', " (did you mean 'zero'?); there are base, zero"),
        ('zero = "evaluation"', "claims.zero = 'evaluation': no stage of this recipe trains or"),
        ('base = "based"', "such a model (did you mean 'base'?)"),
        ('overoptimized = "base"', "claims.overoptimized = 'base' is no stage of kind 'rl'"),
        ("zero = 3", "claims.zero: value 3"),
    ],
)
def test_a_wrong_part_is_refused(line: str, message: str, write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(f"{TEXT}[claims]\n{line}\n"))
    assert message in str(caught.value)
