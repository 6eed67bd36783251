"""Rows of the sampler beside transformers' `generate` and its continuous batching, on skewed lengths.

The load is that of the miniature: a model of about a million parameters, prompts of about 100 tokens, 16 samples of each, responses of 1
to 100 tokens with 34 in the mean of the law. Continuous batching is many times slower on a CPU and draws an eighth.
"""

import random
from collections.abc import Iterator
from dataclasses import asdict

from benchmarks.table.cases import Case
from benchmarks.table.grpo import Setting
from benchmarks.table.link import Child
from benchmarks.table.rows import Row, median_row
from benchmarks.table.turns import in_turns

SLOTS, LIMIT, MEAN, EIGHTH = 256, 100, 34, 8
Run = dict[str, float]


def load(prompts: int, vocabulary: int) -> list[list[int]]:
    """Random prompts of 80 to 120 tokens."""
    draw = random.Random(0)
    lengths = [draw.randint(80, 120) for _ in range(prompts)]
    return [[draw.randrange(1, vocabulary - 1) for _ in range(length)] for length in lengths]


def sampler_rows(setting: Setting, prompts: int = 128) -> Iterator[Row]:
    """Tokens a second of each, medians of alternating runs, and the peers' memory beside ours."""
    chosen = Case(SLOTS, LIMIT, MEAN)
    asked = load(prompts, chosen.vocabulary)
    few = asked[: max(1, prompts // EIGHTH)]
    with setting.ours() as ours, setting.theirs("benchmarks.table.generation") as theirs:
        folders = ours.ask("two_models", case=asdict(chosen), folder=str(setting.folder))
        model, common = folders["reference"], {"slots": SLOTS}
        ours.ask("open_sampler", model=model, dtype=setting.dtype, **common)
        longest = max(map(len, asked))
        theirs.ask("open", model=model, limit=LIMIT, end=chosen.end, longest=longest, **common)
        found = in_turns(
            {
                "ours": lambda: _ours(ours, asked, chosen),
                "generate": lambda: _theirs(theirs, "generate", asked, chosen),
            },
            setting.runs,
        )
        yield _row("sampler_skewed", "generate", found["generate"], found["ours"])
        peaks = [theirs.ask("peak") / 1e6, ours.ask("peak") / 1e6]
        yield Row("sampler_skewed_memory", "generate", *peaks, "MB")
        found = in_turns(
            {
                "ours": lambda: _ours(ours, few, chosen),
                "continuous": lambda: _theirs(theirs, "continuous", few, chosen),
            },
            setting.runs,
        )
        yield _row("sampler_skewed", "continuous", found["continuous"], found["ours"])


def _ours(child: Child, prompts: list[list[int]], chosen: Case) -> Run:
    found: Run = child.ask(
        "sample", prompts=prompts, samples=chosen.group, limit=LIMIT, end=chosen.end
    )
    return found


def _theirs(child: Child, way: str, prompts: list[list[int]], chosen: Case) -> Run:
    found: Run = child.ask(way, prompts=prompts, samples=chosen.group)
    return found


def _row(name: str, beside: str, theirs: list[Run], ours: list[Run]) -> Row:
    speeds = [[run["tokens_per_second"] for run in side] for side in (theirs, ours)]
    return median_row(f"{name}_{beside}", beside, *speeds, "tokens/s", "higher")
