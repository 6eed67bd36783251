"""RL for all scenarios before it runs: what is planned, by hand, and which reward models are refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForSequenceClassification

from dianoia.base.config import RLStage
from dianoia.base.errors import ConfigError, ModelError, UserError
from dianoia.recipe import load_recipe
from dianoia.recipe.inputs import check_inputs
from dianoia.recipe.memory import peak
from dianoia.recipe.model import reward_models
from dianoia.recipe.sizes import judge_sizes, size_of
from dianoia.runtime.machine import Machine
from tests.unit.recipe.conftest import TEXT
from tests.unit.recipe.test_plan import printed

Write = Callable[..., Path]
SHAPE = {
    "vocab_size": 100, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 32, "tie_word_embeddings": True,
}  # fmt: skip
PARAMETERS = 2 * 16 * 8 * (2 + 1) + 3 * 16 * 32 + 100 * 16
"""Attention, feed-forward, embeddings."""


def classifier(path: Path, labels: int = 1, positions: int = 256) -> str:
    torch.manual_seed(0)
    config = Qwen3Config(
        **SHAPE, num_labels=labels, max_position_embeddings=positions, pad_token_id=0
    )
    Qwen3ForSequenceClassification(config).save_pretrained(path)
    return path.as_posix()


@pytest.fixture
def preferences(tmp_path: Path) -> Callable[..., str]:
    """The recipe with a table of preferences, whose values may be changed."""

    def text(**changed: object) -> str:
        table = {
            "helpful": classifier(tmp_path / "helpful"),
            "safety": classifier(tmp_path / "safety"),
        }
        for key in ("problems", "safety_problems"):
            file = tmp_path / f"{key}.jsonl"
            rows = [{"prompt": f"Tell me of {key} {n}"} for n in range(40)]
            file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            table[key] = file.as_posix()
        table |= {"from_step": 3, "safety_share": 0.25} | changed
        lines = [
            f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None
        ]
        return "\n".join([TEXT, "[stages.zero.preferences]", *lines])

    return text


def test_the_arithmetic_by_hand(write: Write, preferences: Callable[..., str]) -> None:
    path = write(preferences())
    plan = printed(path)["zero (rl)"]
    for part in (
        "3 rollouts of 8 prompts x 4 samples = 32 completions",
        # two points of 64 x 4, for reasoning and each general set
        "1,536 more completions for the held-out curve",
        f"at most {(96 + 1536) * 24:,} sampled tokens",
        # rollouts begin at steps 0, 2 and 4, so general prompts come in at 4: one rollout, half of 8 prompts
        "from step 4 on 4 of 8 prompts are general (3 helpful and 1 safety), 16 completions in all",
        f"helpful model {path.parent / 'helpful'} (0.00 M parameters, {round(4 * PARAMETERS / 1000)} kB)",
    ):
        assert part in plan, plan
    stage = load_recipe(path).stages["zero"]
    assert isinstance(stage, RLStage)
    assert stage.counts(3) == {"reasoning": 4, "helpful": 3, "safety": 1}
    assert stage.counts(2) == {"reasoning": 8}


def test_memory_holds_the_reward_models(write: Write, preferences: Callable[..., str]) -> None:
    def needed(text: str) -> float:
        recipe = load_recipe(write(text))
        judges = judge_sizes("zero", recipe).values()
        machine = Machine("this CPU", None, 1, 1e11, 1e11, None)
        return peak(recipe.stages["zero"], size_of("zero", recipe), machine, None, judges).bytes

    more = needed(preferences()) - needed(TEXT)
    assert more == 2 * 4 * PARAMETERS


def test_the_papers_last_stage(write: Write, preferences: Callable[..., str]) -> None:
    """1,700 steps of 32 questions, 16 samples each; general prompts in the last 400. 1,700 is no multiple of 16
    minibatches, so 4 a rollout here."""
    options = (
        "zero.steps=1_700", "zero.minibatches=4", "zero.problems_per_rollout=128", "zero.group_size=16",
        "zero.preferences.from_step=1_300", "zero.progress.problems=0",
    )  # fmt: skip
    path = write(preferences())
    plan = printed(path, *options)["zero (rl)"]
    # 100 rollouts of 64 x 16
    assert (
        "from step 1,300 on 64 of 128 prompts are general (48 helpful and 16 safety), 102,400"
        in plan
    )


def test_reward_models_may_be_earlier_stages_and_no_later_ones(
    write: Write, preferences: Callable[..., str], tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Say {n}", "chosen": "red", "rejected": "six"} for n in range(200)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    stage = f"""
[stages.liked]
kind = "reward_model"
start = "base"
data = ["{pairs.as_posix()}"]
[stages.liked.optimizer]
learning_rate = 1e-2
"""
    text = preferences(helpful="liked", safety=None, safety_problems=None, safety_share=0.2)
    before, after = text.split("[stages.zero]")
    path = write(f"{before}{stage}[stages.zero]{after}")
    recipe = load_recipe(path)
    check_inputs(recipe)
    assert reward_models(recipe.stages["zero"]) == {"helpful": "liked"}
    assert reward_models(recipe.stages["base"]) == {}
    assert "scored by the helpful model liked (" in printed(path)["zero (rl)"]
    with pytest.raises(ConfigError, match=r"stages\.zero uses stages\.liked, which comes after it"):
        load_recipe(write(text + stage))
    with pytest.raises(ConfigError, match=r"'base': this is a stage of kind 'pretrain'"):
        check_inputs(load_recipe(write(preferences(helpful="base"))))


@pytest.mark.parametrize(
    ("labels", "positions", "parts"),
    [
        (2, 256, ["Qwen3ForSequenceClassification with 2 labels", "one number to a response"]),
        (1, 24, ["sampling.max_tokens (or longer) = 24", "has 24 positions"]),
    ],
)
def test_a_model_that_cannot_judge_is_refused(
    labels: int,
    positions: int,
    parts: list[str],
    write: Write,
    preferences: Callable[..., str],
    tmp_path: Path,
) -> None:
    other = classifier(tmp_path / "other", labels, positions)
    with pytest.raises(UserError) as caught:
        check_inputs(load_recipe(write(preferences(safety=other))))
    for part in ("stages.zero", "preferences.safety", other, *parts):
        assert part in str(caught.value), caught.value


def test_a_folder_that_is_not_there_is_refused(
    write: Write, preferences: Callable[..., str]
) -> None:
    with pytest.raises(ModelError, match=r"stages\.zero\.preferences\.helpful: the model '\./no'"):
        check_inputs(load_recipe(write(preferences(helpful="./no"))))
