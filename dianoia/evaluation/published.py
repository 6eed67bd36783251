"""Published results of known models, to stand beside ours.

In: a model's name or folder, and the name of a benchmark. Out: the published numbers in per cent, with their source. Only numbers
that a cited page prints are here. Their protocols differ from ours where the page of benchmarks says so, and careful people have
measured the same models 2 to 7 points apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """Results of one model on one benchmark."""

    values: Mapping[str, float]
    """By metric (`pass@1`, `cons@64`), in per cent."""
    source: str


_R1 = "DeepSeek-R1, arXiv 2501.12948v2, tables 3 and 8"
_ZERO = "DeepSeek-R1, arXiv 2501.12948v2, table 3"
_DISTILLED = "DeepSeek-R1, arXiv 2501.12948v2, table 15"

# Columns: AIME 2024 pass@1, cons@64, MATH-500, GPQA Diamond, LiveCodeBench; all but the second are pass@1.
_COLUMNS = ("aime24", "aime24", "math-500", "gpqa-diamond", "livecodebench")
_PAPER: Mapping[str, tuple[str, tuple[float, float | None, float, float, float]]] = {
    "DeepSeek-R1": (_R1, (79.8, None, 97.3, 71.5, 65.9)),
    "DeepSeek-R1-Zero": (_ZERO, (77.9, None, 95.9, 75.8, 50.0)),
    "DeepSeek-R1-Distill-Qwen-1.5B": (_DISTILLED, (28.9, 52.7, 83.9, 33.8, 16.9)),
    "DeepSeek-R1-Distill-Qwen-7B": (_DISTILLED, (55.5, 83.3, 92.8, 49.1, 37.6)),
    "DeepSeek-R1-Distill-Qwen-14B": (_DISTILLED, (69.7, 80.0, 93.9, 59.1, 53.1)),
    "DeepSeek-R1-Distill-Qwen-32B": (_DISTILLED, (72.6, 83.3, 94.3, 62.1, 57.2)),
    "DeepSeek-R1-Distill-Llama-8B": (_DISTILLED, (50.4, 80.0, 89.1, 49.0, 39.6)),
    "DeepSeek-R1-Distill-Llama-70B": (_DISTILLED, (70.0, 86.7, 94.5, 65.2, 57.5)),
    "QwQ-32B-Preview": (_DISTILLED, (50.0, 60.0, 90.6, 54.5, 41.9)),
}

_QWEN = "Qwen2.5 Technical Report, arXiv 2412.15115, tables of Qwen2.5-0.5B and 1.5B; its prompts are not published"
_OTHERS: Mapping[tuple[str, str], Published] = {
    ("deepseek-r1", "mmlu-pro"): Published({"pass@1": 84.0}, _R1),
    ("deepseek-r1-zero", "mmlu-pro"): Published({"pass@1": 68.9}, _ZERO),
    ("qwen2.5-0.5b-instruct", "gsm8k"): Published({"pass@1": 49.6}, _QWEN),
    ("qwen2.5-0.5b-instruct", "humaneval"): Published({"pass@1": 35.4}, _QWEN),
    ("qwen2.5-1.5b-instruct", "gsm8k"): Published({"pass@1": 73.2}, _QWEN),
    ("qwen2.5-1.5b-instruct", "humaneval"): Published({"pass@1": 61.6}, _QWEN),
}


def published(model: str, benchmark: str) -> Published | None:
    """Return what is published of a model on a benchmark; None if nothing is known here.

    `model`: a hub name, or a folder of the same name; capitals do not count.
    """
    name = model.rstrip("/").rpartition("/")[2].casefold()
    return _BY_MODEL.get((name, benchmark))


def _by_model() -> dict[tuple[str, str], Published]:
    results: dict[tuple[str, str], Published] = {}
    for model, (source, values) in _PAPER.items():
        for column, benchmark in enumerate(_COLUMNS):
            value = values[column]
            if value is None:
                continue
            key = (model.casefold(), benchmark)
            metric = "cons@64" if column == 1 else "pass@1"
            earlier = results[key].values if key in results else {}
            results[key] = Published({**earlier, metric: value}, source)
    return results


_BY_MODEL: Mapping[tuple[str, str], Published] = {**_by_model(), **_OTHERS}
