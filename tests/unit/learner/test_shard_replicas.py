"""A model in shards over ranks learns as replicas do: the same bits on a CPU, whatever is trained and however unequal the work."""

import random
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel, Qwen3ForSequenceClassification

from dianoia.base.records import Sample
from dianoia.config import OptimizerSettings
from dianoia.config.lora_table import LoRASettings
from dianoia.distributed.group import ranks
from dianoia.hardware.devices import return_freed_memory
from dianoia.learner import sharded_state
from dianoia.learner.attention.packed_rows import Demonstration
from dianoia.learner.lora import add_adapters
from dianoia.learner.reward_learner import Example, RewardModelLearner
from dianoia.learner.shards import Sharding, load_on_first_rank, take_tensors
from dianoia.learner.supervised import SupervisedLearner
from dianoia.learner.trainer import Learner
from dianoia.models.loading import load_model
from tests.rank_processes import run_ranks
from tests.unit.learner.conftest import KINDS, SIZES, optimizer_settings, policy_learner

VOCABULARY = 64
# Parts of every tensor on up to four ranks are whole vectors of a processor: AdamW rounds what is left over otherwise.
WIDE = {"hidden_size": 64, "intermediate_size": 128, "vocab_size": VOCABULARY}
CPU = torch.device("cpu")

Weights = dict[str, Tensor]
Options = dict[str, Any]


def model(family: str = "qwen3", tied: bool = True, **config: Any) -> PreTrainedModel:
    """A float32 model whose weights depend on nothing but the arguments."""
    kind, made_by, _ = KINDS[family]
    settings = {**SIZES, **WIDE, "tie_word_embeddings": tied, "pad_token_id": 0, **config}
    if family == "qwen3":
        settings["head_dim"] = 32
    torch.manual_seed(3)
    if "num_labels" in config:
        return Qwen3ForSequenceClassification(kind(**settings)).eval()
    return made_by(kind(**settings)).eval()


def samples(step: int, count: int = 7) -> list[Sample]:
    draw = random.Random(step)

    def ids(longest: int) -> tuple[int, ...]:
        return tuple(draw.randrange(VOCABULARY) for _ in range(1 + draw.randrange(longest)))

    rows = [(ids(6), ids(9)) for _ in range(count)]
    return [
        Sample(
            prompt,
            response,
            tuple(-draw.uniform(1, 4) for _ in response),
            draw.choice([-1.5, -0.5, 0.5, 1.0]),
            draw.choice([0.0, 1.0]),
        )
        for prompt, response in rows
    ]


def learner(stage: str, sharding: Sharding | None, lora: bool, options: Options) -> Learner:
    """A learner of a stage; on all ranks but the first the model comes without memory."""
    options = dict(options)
    of_model = options.pop("model", {}) | ({"num_labels": 1} if stage == "reward_model" else {})
    start = model(**of_model)
    if lora:
        add_adapters(start, LoRASettings(rank=8), 5, train_head=stage == "reward_model")
    if sharding is not None and ranks().rank:
        take_tensors(start)
    options = {"max_grad_norm": 1e9, "weight_decay": 0.01, **options}
    if stage == "rl":
        defaults = {"kl_coefficient": 0.1, "reference_every": 3, "tokens_per_micro_batch": 24}
        return policy_learner(start, sharding=sharding, **{**defaults, **options})
    names = options.keys() & OptimizerSettings.model_fields.keys()
    optimizer = {name: options.pop(name) for name in names}
    settings = optimizer_settings(**optimizer)
    if stage == "sft":
        return SupervisedLearner(
            start, settings, total_steps=9, tokens_per_row=24, sharding=sharding, **options
        )
    return RewardModelLearner(
        start, settings, total_steps=9, tokens_per_micro_batch=40, sharding=sharding, **options
    )


def take_step(trained: Learner, stage: str, step: int) -> tuple[float, float]:
    """Learn from the samples of a step; returns loss and norm."""
    drawn = samples(step)
    metrics: Any
    if stage == "rl":
        metrics = trained.update(trained.prepare(drawn))  # type: ignore[attr-defined]
    elif stage == "sft":
        shown = [
            Demonstration(
                torch.tensor(s.prompt_ids + s.response_ids, dtype=torch.int32),
                torch.arange(len(s.prompt_ids + s.response_ids)) >= len(s.prompt_ids),
            )
            for s in drawn
        ]
        metrics = trained.update(shown)  # type: ignore[attr-defined]
    else:
        pairs = [
            Example((s.prompt_ids + s.response_ids, s.prompt_ids + other.response_ids))
            for s, other in zip(drawn, drawn[::-1], strict=True)
        ]
        metrics = trained.update(pairs)  # type: ignore[attr-defined]
    return metrics.loss, metrics.grad_norm


def train(
    stage: str,
    steps: int,
    ranks_per_model: int,
    lora: bool,
    options: Options,
    state: str | None = None,
    every_micro_batch: bool = False,
    in_parts: bool = False,
) -> tuple[list[tuple[float, float]], Weights]:
    """Train on this rank, from the state where there is one, until `steps`; returns loss and norm per step, and the weights.

    `ranks_per_model` 0: in replicas.
    """
    sharding = Sharding.over(ranks(), CPU, ranks_per_model) if ranks_per_model else None
    trained = learner(stage, sharding, lora, options)
    if every_micro_batch:
        assert trained.trainer.shards is not None
        trained.trainer.shards.sums_each_micro_batch = True
    if in_parts:
        sharded_state.HOST_SHARE = 0.0
    if state is not None:
        trained.load_state(Path(state))
    numbers = [take_step(trained, stage, step) for step in range(trained.step, steps)]
    if state is not None:
        trained.save_state(Path(state), {"step": trained.step})
    weights = trained.weights()
    return numbers, {name: weights[name].detach().clone() for name in weights}


def replicas(count: int, *arguments: Any) -> tuple[list[tuple[float, float]], Weights]:
    """Train in one process on so many threads."""
    (result,) = run_ranks(train, 1, *arguments, threads=count)
    return result


def distance(a: Weights, b: Weights) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def compare(
    count: int,
    stage: str,
    steps: int,
    per_model: int,
    lora: bool,
    options: Options,
    tolerance: float = 2e-6,
) -> float:
    """Return how far the weights of `count` ranks are from those of as many replicas; loss and norm agree in each step."""
    expected, weights = replicas(count, stage, steps, 0, lora, options)
    everyone = run_ranks(train, count, stage, steps, per_model, lora, options)
    for numbers, theirs in everyone:
        assert numbers == everyone[0][0]  # one norm, by which all clip
        assert distance(theirs, everyone[0][1]) == 0
        for (loss, norm), (expected_loss, expected_norm) in zip(numbers, expected, strict=True):
            assert loss == pytest.approx(expected_loss, abs=tolerance)
            assert norm == pytest.approx(expected_norm, rel=tolerance)
    return distance(weights, everyone[0][1])


def test_two_ranks_learn_as_two_replicas_do() -> None:
    assert compare(2, "rl", 2, 2, False, {}) == 0


SLOWLY: Options = {"learning_rate": 2e-4}
"""AdamW makes a step of the size of the learning rate out of the rounding of a gradient near 0."""

CASES = {
    "rl": ("rl", False, {}),
    "rl untied": ("rl", False, {"model": {"tied": False}}),
    "rl llama": ("rl", False, {"model": {"family": "llama"}}),
    "rl importance cap": ("rl", False, {"importance_cap": 2.0}),
    "rl recompute": ("rl", False, {"recompute": True}),
    "rl bfloat16": ("rl", False, {"autocast": "bfloat16"}),
    "rl both": ("rl", False, {"autocast": "bfloat16", "recompute": True}),
    "rl padded": ("rl", False, {"share_prompts": False}),
    "rl few micro-batches": ("rl", False, {"tokens_per_micro_batch": 64}),
    "ppo": ("rl", False, {"name": "ppo", "kl_in": "reward"}),
    "rl lora": ("rl", True, {}),
    "rl lora recompute": ("rl", True, {"recompute": True}),
    "ppo lora": ("rl", True, {"name": "ppo"}),
    "sft": ("sft", False, {}),
    "sft lora bfloat16": ("sft", True, {"autocast": "bfloat16"}),
    "reward_model": ("reward_model", False, {}),
    "reward_model lora recompute": ("reward_model", True, {"recompute": True}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_twenty_steps_in_shards_have_the_bits_of_replicas(name: str) -> None:
    stage, lora, options = CASES[name]
    assert compare(2, stage, 20, 2, lora, options) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rl", "ppo lora", "sft", "reward_model"])
def test_four_ranks_have_the_bits_of_four_replicas(name: str) -> None:
    stage, lora, options = CASES[name]
    assert compare(4, stage, 20, 4, lora, options) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rl", "rl lora", "sft", "reward_model"])
def test_clipped_steps_differ_by_rounding_alone(name: str) -> None:
    stage, lora, options = CASES[name]
    options = {**options, "max_grad_norm": 0.05, **SLOWLY}
    assert compare(2, stage, 20, 2, lora, options, 1e-4) < 20 * 1e-6


@pytest.mark.slow
def test_two_models_of_two_ranks_are_near_four_replicas() -> None:
    # 0 + 1 and 2 + 3 are summed first.
    assert compare(4, "rl", 4, 2, False, SLOWLY, 1e-4) < 4 * 1e-6


@pytest.mark.slow
def test_sums_after_each_micro_batch_differ_by_rounding_alone() -> None:
    expected, weights = replicas(2, "rl", 4, 0, False, SLOWLY)
    for numbers, theirs in run_ranks(train, 2, "rl", 4, 2, False, SLOWLY, None, True):
        assert numbers[0][1] == pytest.approx(expected[0][1], rel=2e-6)
        assert distance(weights, theirs) < 4e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rl", "ppo", "rl lora", "sft", "reward_model"])
def test_a_state_goes_on_with_another_number_of_ranks(name: str, tmp_path: Path) -> None:
    stage, lora, options = CASES[name]
    _, straight = replicas(2, stage, 6, 0, lora, options)
    state = str(tmp_path / "state")
    run_ranks(train, 2, stage, 2, 2, lora, options, state)
    replicas(2, stage, 4, 0, lora, options, state)
    everyone = run_ranks(train, 2, stage, 6, 2, lora, options, state)
    assert distance(straight, everyone[0][1]) == 0
    copy = str(shutil.copytree(state, tmp_path / "copy"))
    four = run_ranks(train, 4, stage, 8, 4, lora, options, state)
    _, by_one = replicas(4, stage, 8, 0, lora, options, copy)
    assert distance(four[0][1], by_one) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ppo", "rl lora"])
def test_a_state_in_parts_goes_on_with_another_number_of_ranks(name: str, tmp_path: Path) -> None:
    stage, lora, options = CASES[name]
    _, straight = replicas(2, stage, 8, 0, lora, options)
    state = str(tmp_path / "state")
    in_parts = (state, False, True)
    run_ranks(train, 2, stage, 4, 2, lora, options, *in_parts)
    files = {file.name for file in (tmp_path / "state/parts").iterdir()}
    assert files == {".metadata", "__0_0.distcp", "__1_0.distcp"}
    # One process writes whole tensors again, and two read those.
    replicas(2, stage, 6, 0, lora, options, state)
    assert not (tmp_path / "state/parts").exists()
    everyone = run_ranks(train, 2, stage, 7, 2, lora, options, *in_parts)
    everyone = run_ranks(train, 2, stage, 8, 2, lora, options, *in_parts)
    assert distance(straight, everyone[0][1]) == 0


# Memory --------------------------------------------------------------------------------------------


def megabytes(line: str) -> float:
    """Memory of this process by a line of its status: `VmRSS` now, `VmHWM` at most since the last reset."""
    status = Path("/proc/self/status").read_text()
    return next(int(row.split()[1]) / 1e3 for row in status.splitlines() if row.startswith(line))


def memory_of_training(folder: str, ranks_per_model: int) -> dict[str, float]:
    """Train a model of a folder for two steps; returns the largest megabytes of each part, beside those of before."""

    def most_since_reset() -> float:
        most = megabytes("VmHWM") - before
        Path("/proc/self/clear_refs").write_text("5")
        return most

    return_freed_memory()
    before, most = megabytes("VmRSS"), {}
    most_since_reset()
    if ranks_per_model:
        sharding = Sharding.over(ranks(), CPU, ranks_per_model)
        start = load_on_first_rank(lambda: load_model(folder), ranks())
    else:
        sharding, start = None, load_model(folder)
    most["load"] = most_since_reset()
    trained = SupervisedLearner(start, optimizer_settings(), total_steps=2, sharding=sharding)
    most_since_reset()
    for step in range(2):
        take_step(trained, "sft", step)
    most["train"] = most_since_reset()
    return most


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_rank_needs_less_memory_than_a_process_with_the_whole_model(tmp_path: Path) -> None:
    # 8 million parameters: weights, gradients and averages of 130 MB.
    big = model(hidden_size=512, intermediate_size=1024, num_hidden_layers=5)
    big.save_pretrained(tmp_path)
    (alone,) = run_ranks(memory_of_training, 1, str(tmp_path), 0)
    first, second = run_ranks(memory_of_training, 2, str(tmp_path), 2)
    assert max(first["train"], second["train"]) < 0.85 * alone["train"]
    # The first rank reads the folder, and the other nothing of it.
    assert second["load"] < 0.3 * alone["load"]
