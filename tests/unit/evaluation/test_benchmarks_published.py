"""Published numbers stand beside the model and the benchmark that they are of, and beside no other."""

import pytest

from dianoia.evaluation.benchmarks import _BY_MODEL, BENCHMARKS, published


@pytest.mark.parametrize(
    ("model", "benchmark", "values"),
    [
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "aime24", {"pass@1": 55.5, "cons@64": 83.3}),
        ("models/deepseek-r1-distill-qwen-7b/", "math-500", {"pass@1": 92.8}),
        ("deepseek-ai/DeepSeek-R1-Zero", "gpqa-diamond", {"pass@1": 75.8}),
        ("Qwen/Qwen2.5-0.5B-Instruct", "gsm8k", {"pass@1": 49.6}),
    ],
)
def test_a_known_model(model: str, benchmark: str, values: dict[str, float]) -> None:
    found = published(model, benchmark)
    assert found is not None and found.values == values and "arXiv" in found.source


@pytest.mark.parametrize(
    ("model", "benchmark"),
    [
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "gsm8k"),
        ("me/DeepSeek-R1-Distill-Qwen-7B-tuned", "aime24"),
        ("Qwen/Qwen2.5-0.5B", "gsm8k"),
        ("runs/miniature-r1/stages/zero/checkpoint", "aime24"),
    ],
)
def test_an_unknown_one(model: str, benchmark: str) -> None:
    assert published(model, benchmark) is None


def test_every_entry_is_of_a_benchmark_and_in_per_cent() -> None:
    for (name, benchmark), entry in _BY_MODEL.items():
        assert benchmark in BENCHMARKS and name == name.casefold()
        assert all(1 < value < 100 for value in entry.values.values())
