"""Rows of the sampler, transformers' `generate` and its continuous batching, with skewed lengths.

The load is that of the miniature: a model of about a million parameters, prompts of about 100 tokens with 16 samples
each, responses of 1 to 100 tokens from a distribution with mean 34. Continuous batching is many times slower on a CPU,
so it gets an eighth of the prompts.
"""

import random
from collections.abc import Iterator
from dataclasses import asdict

from benchmarks.table.cases import Case
from benchmarks.table.grpo import Setting
from benchmarks.table.link import Child
from benchmarks.table.rows import Row, median_row
from benchmarks.table.turns import alternate

SLOTS, LIMIT, MEAN = 256, 100, 34
CONTINUOUS_SHARE = 8
"""Continuous batching gets one prompt in so many."""
Run = dict[str, float]


def load(prompts: int, vocabulary: int) -> list[list[int]]:
    """Return random prompts of 80 to 120 tokens."""
    rng = random.Random(0)
    lengths = [rng.randint(80, 120) for _ in range(prompts)]
    return [[rng.randrange(1, vocabulary - 1) for _ in range(length)] for length in lengths]


def sampler_rows(setting: Setting, prompts: int = 128) -> Iterator[Row]:
    """Yield tokens per second of each, as medians of alternating runs, and the peak memory of both."""
    size = Case(SLOTS, LIMIT, MEAN)
    all_prompts = load(prompts, size.vocabulary)
    few_prompts = all_prompts[: max(1, prompts // CONTINUOUS_SHARE)]
    with setting.ours() as ours, setting.theirs("benchmarks.table.generation") as theirs:
        folders = ours.ask("two_models", case=asdict(size), folder=str(setting.folder))
        model, common = folders["reference"], {"slots": SLOTS}
        ours.ask("open_sampler", model=model, dtype=setting.dtype, **common)
        longest = max(map(len, all_prompts))
        theirs.ask("open", model=model, limit=LIMIT, end=size.end, longest=longest, **common)
        runs = alternate(
            {
                "ours": lambda: _ours(ours, all_prompts, size),
                "generate": lambda: _theirs(theirs, "generate", all_prompts, size),
            },
            setting.runs,
        )
        yield _row("sampler_skewed", "generate", runs["generate"], runs["ours"])
        peaks = [theirs.ask("peak") / 1e6, ours.ask("peak") / 1e6]
        yield Row("sampler_skewed_memory", "generate", *peaks, "MB")
        runs = alternate(
            {
                "ours": lambda: _ours(ours, few_prompts, size),
                "continuous": lambda: _theirs(theirs, "continuous", few_prompts, size),
            },
            setting.runs,
        )
        yield _row("sampler_skewed", "continuous", runs["continuous"], runs["ours"])


def _ours(child: Child, prompts: list[list[int]], size: Case) -> Run:
    run: Run = child.ask("sample", prompts=prompts, samples=size.group, limit=LIMIT, end=size.end)
    return run


def _theirs(child: Child, method: str, prompts: list[list[int]], size: Case) -> Run:
    run: Run = child.ask(method, prompts=prompts, samples=size.group)
    return run


def _row(name: str, peer: str, theirs: list[Run], ours: list[Run]) -> Row:
    speeds = [[run["tokens_per_second"] for run in side] for side in (theirs, ours)]
    return median_row(f"{name}_{peer}", peer, *speeds, "tokens/s", "higher")
