"""The `lora` table: which layers its targets name, and what it refuses."""

from typing import Any

import pytest
from pydantic import ValidationError

from dianoia.config.lora_table import LoRASettings, unmatched_message

LAYERS = [
    "model.layers.0.self_attn.q_proj",
    "model.layers.0.mlp.up_proj",
    "model.layers.1.mlp.up_proj",
]


@pytest.mark.parametrize(
    ("targets", "named"),
    [
        ("all-linear", LAYERS),
        (["up_proj"], LAYERS[1:]),
        (["0.mlp.up_proj"], LAYERS[1:2]),
        (["proj"], []),  # an end is made of whole names
        (LAYERS[:1], LAYERS[:1]),
    ],
)
def test_targets_name_layers_by_their_ends(targets: Any, named: list[str]) -> None:
    table = LoRASettings(targets=targets)
    assert [name for name in LAYERS if table.matches(name)] == named
    assert table.unmatched(LAYERS) == ([] if named else targets)


@pytest.mark.parametrize("targets", [[], ["q_proj", "q_proj"], ["q_proj", ""]])
def test_targets_without_sense_are_refused(targets: list[str]) -> None:
    with pytest.raises(ValidationError, match="the name of at least one layer, and each once"):
        LoRASettings(targets=targets)


@pytest.mark.parametrize(
    "entry", [{"rank": 0}, {"alpha": 0.0}, {"dtype": "float16"}, {"dropout": 0.1}]
)
def test_other_values_are_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LoRASettings(**entry)


def test_a_refusal_lists_the_names_that_exist() -> None:
    message = unmatched_message(["W_pack"], LAYERS)
    assert "names 'W_pack'" in message and 'its layers are "q_proj", "up_proj"' in message
