"""The plan of a reward model, by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError
from dianoia.config import RewardModelStage
from dianoia.recipe import load_recipe
from dianoia.recipe.check.inputs import check_inputs
from dianoia.recipe.plan.model_sizes import size_of
from dianoia.recipe.plan.stage_work import stage_work
from tests.unit.recipe.conftest import TEXT, planned_work

Write = Callable[..., Path]
STAGE = """
[stages.helpful]
kind = "reward_model"
start = "base"
data = ["{source}"]
heldout_share = 0.5
epochs = 3
samples_per_step = 4
[stages.helpful.optimizer]
learning_rate = 1e-2
"""


@pytest.fixture
def recipe(write: Write, tmp_path: Path) -> Path:
    rows = [{"prompt": f"{n}?", "chosen": "yes", "rejected": "no!"} for n in range(40)]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return write(TEXT + STAGE.replace("{source}", file.as_posix()))


def test_the_arithmetic_by_hand(recipe: Path) -> None:
    plan = planned_work(recipe)["helpful (reward_model)"]
    words = plan.replace(",", "").split()
    train, lock = (int(words[words.index(w) - 1]) for w in ("pairs", "held"))
    assert train + lock == 40 and 10 < train < 30
    steps = 3 * -(-train // 4)  # the last step of an epoch may have fewer
    assert f"{steps} optimizer steps of 4 pairs in 3 epochs" in plan
    assert plan.startswith("from base (0.02 M parameters)")


def test_what_a_reward_model_sees(recipe: Path) -> None:
    def view(*overrides: str) -> str:
        stage = load_recipe(recipe, overrides).stages["helpful"]
        assert isinstance(stage, RewardModelStage)
        return stage.scored_part

    assert view() == "answer"
    assert view("helpful.objective=pointwise") == "response"
    assert view("helpful.sees=response") == "response"
    assert view("helpful.objective=pointwise", "helpful.sees=answer") == "answer"


def test_no_reinforcement_learning_on_a_reward_model(recipe: Path) -> None:
    """It would have to come first; and a policy cannot start from numbers."""
    text = recipe.read_text(encoding="utf-8")
    later = text.split("[stages.zero]")[1].split("[stages.evaluation]")[0]
    later = later.replace("stages.zero", "stages.later").replace('"base"', '"helpful"')
    recipe.write_text(text + "[stages.later]" + later, encoding="utf-8")
    with pytest.raises(ConfigError, match="stages.later uses 'helpful'.*writes no text"):
        check_inputs(load_recipe(recipe))


def test_a_response_of_several_pairs_is_planned_once(write: Write, tmp_path: Path) -> None:
    """Two responses in three pairs of a prompt cost what one pair of them costs; six responses cost more."""

    def flops(pairs: list[tuple[str, str]]) -> float:
        file = tmp_path / "rows.jsonl"
        rows = [
            {"prompt": f"{n}?", "chosen": chosen, "rejected": rejected}
            for n in range(40)
            for chosen, rejected in pairs
        ]
        file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        recipe = load_recipe(write(TEXT + STAGE.replace("{source}", file.as_posix())))
        (work,) = stage_work("helpful", recipe, size_of("helpful", recipe)).work
        return work.training_flops

    a, b, c, d, e, f = (letter * 300 for letter in "abcdef")
    once, again = flops([(a, b)]), flops([(a, b), (b, a), (a, b)])
    assert again == once
    # A prompt counts 80 tokens, a text 300 x 0.3 = 90: (80 + 6 x 90) / (80 + 2 x 90) = 2.38, and a little for attention.
    assert flops([(a, b), (c, d), (e, f)]) / once == pytest.approx(2.38, abs=0.06)
