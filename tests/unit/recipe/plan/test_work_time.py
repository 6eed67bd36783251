"""The time of a plan, by hand: operations of updates and samples, and the seconds that they take."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dianoia.hardware.machine import Machine
from dianoia.recipe import load_recipe
from dianoia.recipe.plan.model_sizes import size_from_config, size_of
from dianoia.recipe.plan.stage_work import stage_work
from dianoia.recipe.plan.work_time import Texts, Work, sampling_work, seconds, training_work

Write = Callable[..., Path]
# 2 layers of 2 x 32 x 8 x (4 + 2) + 3 x 32 x 64 = 3,072 + 6,144 parameters, and 100 x 32 of embeddings
CONFIG = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 64,
    "vocab_size": 100,
    "tie_word_embeddings": True,
}
SIZE = size_from_config(CONFIG, "by hand")
LAYERS, HEAD = 2 * 18_432, 2 * 3_200
"""Operations per token: two per parameter."""


def attention(context: float) -> float:
    """Scores and sums over 4 heads of 8 in 2 layers, two operations each."""
    return 4 * 32 * context * 2


def test_operations_of_an_update_by_hand() -> None:
    """Two prompts of 20 tokens, four responses of 10 to each; a token looks at half of 30 others."""
    work = training_work(SIZE, Texts(8, 10, 2, 20), 4.0, autocast=True)
    layers = LAYERS + attention(15)
    assert work.training_flops == 4 * (8 * 10 * (layers + HEAD) + 2 * 20 * layers)
    assert work.packed_flops == 4 * (8 * 10 * (layers + HEAD) + 8 * 20 * layers)
    alone = training_work(SIZE, Texts(8, 10), 3.0, autocast=False)
    assert alone.training_flops == alone.packed_flops == 3 * 80 * (LAYERS + attention(5) + HEAD)


def test_operations_of_samples_by_hand() -> None:
    """Two calls with 8 samples of at most 50 tokens, of which 15 are expected, to two prompts of 20, in 4 slots."""
    work = sampling_work(SIZE, 16, 50, 4, "bfloat16", 2, 4, 20)
    responses = 16 * 15 * (LAYERS + attention(20 + 7.5) + HEAD)
    assert work.sampling_flops == responses + 4 * 20 * (LAYERS + attention(10))
    # 240 tokens in 4 slots, and in both calls the longest response goes on alone for 35
    assert work.decoding_steps == 240 / 4 + 2 * 35
    # weights once, and per live sample 2 x 2 layers x 2 heads x 8 numbers of each of 27.5 tokens
    assert work.bytes_per_step == 2 * (SIZE.parameters + 4 * 27.5 * 64)


def test_a_reward_model_has_no_head_over_the_vocabulary() -> None:
    work = training_work(SIZE, Texts(8, 10), 3.0, autocast=False, head_over_vocabulary=False)
    assert work.training_flops == 3 * 80 * (LAYERS + attention(5))


def test_seconds_on_a_cpu_by_hand() -> None:
    """A model of width 75 reaches half of the rate; copies of prompts do not count."""
    cpu = Machine("a CPU", None, 2, 1000.0, 1600.0, None)
    work = Work(100.0, 900.0, sampling_flops=300.0, bfloat16=True, width=75)
    assert seconds(work, cpu) == pytest.approx(100 / 500 + 300 / 800)
    assert seconds(Work(100.0, 900.0, autocast=True, width=75), cpu) == pytest.approx(100 / 800)


def test_seconds_on_a_gpu_by_hand() -> None:
    """bfloat16 products run rows end to end, so every sample has its prompt; decoding waits for memory and launches."""
    gpu = Machine("a GPU", 80e9, 1, 1000.0, 8000.0, 50.0)
    assert seconds(Work(100.0, 900.0, autocast=True, width=75), gpu) == pytest.approx(900 / 8000)
    assert seconds(Work(100.0, 900.0, width=75), gpu) == pytest.approx(100 / 1000)
    sampling = Work(
        sampling_flops=80.0, bfloat16=True, decoding_steps=10, bytes_per_step=100, layers=100
    )
    assert seconds(sampling, gpu) == pytest.approx(10 * (100 / 50 + 100 * 1.8e-5))
    limited = Work(sampling_flops=8e6, bfloat16=True, decoding_steps=10, bytes_per_step=100)
    assert seconds(limited, gpu) == pytest.approx(1000)


# Measurements -------------------------------------------------------------------------------------

H100 = Machine("one H100", 80e9, 1, 0.35 * 67e12, 0.35 * 989e12, 0.72 * 3350e9)
QWEN3 = {
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151_936,
    "tie_word_embeddings": True,
}


@pytest.mark.parametrize(
    ("hidden", "inner", "rows", "rate"),
    [
        (1024, 3072, 64, 32_355),
        (1024, 3072, 256, 56_321),
        (2048, 6144, 64, 22_923),
        (2048, 6144, 256, 46_522),
    ],
)
def test_decoding_is_as_fast_as_it_was_measured_on_an_h100(
    hidden: int, inner: int, rows: int, rate: float
) -> None:
    """Tokens per second of log/2026-11-26-one-gpu-to-itself.md: prompts of 128 tokens, responses of 256."""
    size = size_from_config({**QWEN3, "hidden_size": hidden, "intermediate_size": inner}, "qwen3")
    # 853 x 0.3 = 256 tokens, all of the same length: no long tail after them
    work = sampling_work(size, rows, 853, rows, "bfloat16", 1, 0, 128)
    steps = rows * 256 / rows
    time = seconds(work, H100) * steps / work.decoding_steps
    assert rows * 256 / time == pytest.approx(rate, rel=0.15)


# Prompts ------------------------------------------------------------------------------------------


def test_the_length_of_prompts_is_read_from_the_file(write: Write, tmp_path: Path) -> None:
    """`plain` adds a line break: (1 + 299) characters are 90 tokens at 0.3 each, and 8 prompts are sampled per rollout."""
    file = tmp_path / "problems.jsonl"
    rows = [{"question": f"{n:03d}" + "x" * 296, "answer": str(n)} for n in range(100)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = [
        f"zero.problems={file}",
        "zero.template=plain",
        "zero.rewards.format=0.0",
        "zero.progress.problems=0",
    ]
    recipe = load_recipe(write(), options)
    size = size_of("zero", recipe)
    sampled, trained = stage_work("zero", recipe, size).work
    # 3 rollouts of 8 problems x 4 samples; 24 x 0.3 tokens; the reference's pass and the three of an update
    texts = Texts(96, 7.2, 24, 90.0)
    assert trained.training_flops == pytest.approx(
        training_work(size, texts, 4.0, False).training_flops
    )
    assert sampled == sampling_work(size, 96, 24, 8, "float32", 3, 24, 90.0)
