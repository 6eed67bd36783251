"""Rows of a GRPO step of Dianoia and TRL, and of the difference between their losses."""

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.table.cases import Case, skewed
from benchmarks.table.link import Child
from benchmarks.table.rows import Row, median_row
from benchmarks.table.turns import alternate

OURS, THEIRS = "benchmarks.table.ours", "benchmarks.table.theirs"
MEASURES = (
    ("", "seconds", "s"),
    ("_rollout", "rollout", "s"),
    ("_update", "update", "s"),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """The settings of all measurements."""

    python: str
    """The interpreter with Dianoia."""
    peers: str
    """The interpreter that also has TRL."""
    folder: Path
    threads: int
    runs: int
    dtype: str = "float32"
    """Dtype of Dianoia's matrix products."""
    peer_dtype: str = "float32"
    """bfloat16: TRL's own mixed precision."""
    peer_batch: int = 0
    """Completions per micro-batch of TRL; 0: all."""

    def ours(self) -> Child:
        """Start a process of Dianoia."""
        return Child(self.python, OURS, self.threads, self.folder / "ours.log")

    def theirs(self, module: str = THEIRS) -> Child:
        """Start a process of the peers."""
        return Child(self.peers, module, self.threads, self.folder / "theirs.log")


def step_rows(size: Case, setting: Setting) -> Iterator[Row]:
    """Yield the seconds of a step and its phases, tokens per second, and the processes' peak memory."""
    with setting.ours() as ours, setting.theirs() as theirs:
        common: dict[str, Any] = {"case": asdict(size), "threads": setting.threads}
        folder = setting.folder / f"step-{size.name}"
        ours.ask("open", folder=str(folder / "ours"), dtype=setting.dtype, **common)
        theirs.ask("open", folder=str(folder / "trl"), dtype=setting.peer_dtype,
                   batch=setting.peer_batch, **common)  # fmt: skip
        sides = {"ours": lambda: ours.ask("step"), "theirs": lambda: theirs.ask("step")}
        runs = alternate(sides, setting.runs)
        peaks = {"ours": ours.ask("peak"), "theirs": theirs.ask("peak")}
    yield from rows_of(f"grpo_step_{case_name(size, setting)}", runs, peaks)


def case_name(size: Case, setting: Setting) -> str:
    """Return the name of a case, with a suffix for bfloat16."""
    dtypes = (("bf16", setting.dtype), ("trl_bf16", setting.peer_dtype))
    suffixes = [suffix for suffix, dtype in dtypes if dtype == "bfloat16"]
    return "_".join([size.name, *suffixes])


def rows_of(
    name: str, runs: dict[str, list[dict[str, float]]], peaks: dict[str, int]
) -> Iterator[Row]:
    """Yield the rows of alternating steps."""
    ours, theirs = runs["ours"], runs["theirs"]
    for suffix, key, unit in MEASURES:
        yield median_row(name + suffix, "trl", _column(theirs, key), _column(ours, key), unit)
    speeds = [[run["tokens"] / run["seconds"] for run in side] for side in (theirs, ours)]
    yield median_row(f"{name}_tokens", "trl", *speeds, "tokens/s", "higher")
    yield Row(f"{name}_memory", "trl", peaks["theirs"] / 1e6, peaks["ours"] / 1e6, "MB")


def _column(runs: list[dict[str, float]], key: str) -> list[float]:
    return [run[key] for run in runs]


def loss_rows(size: Case, setting: Setting) -> Iterator[Row]:
    """Yield the losses of the same completions, sampled by another policy, with clipping, without and with a KL term."""
    batch = completions(size)
    with setting.ours() as ours, setting.theirs() as theirs:
        folders = ours.ask("two_models", case=asdict(size), folder=str(setting.folder))
        for kl in (0.0, 0.04):
            trl = theirs.ask("loss", kl=kl, **folders, **batch)
            options = {"kl": kl, "old": trl["old"], "dtype": setting.dtype}
            loss = ours.ask("loss", **options, **folders, **batch)
            name = case_name(replace(size, kl=kl), setting)
            yield Row(f"loss_difference_{name}", "trl", trl["loss"], loss, "", "difference")


def completions(size: Case, seed: int = 0) -> dict[str, list[Any]]:
    """Return random completions of the case's lengths, in groups, with advantages of both signs."""
    rng = random.Random(seed)

    def ids(count: int) -> list[int]:
        return [rng.randrange(1, size.vocabulary - 1) for _ in range(count)]

    group_prompts = [ids(size.prompt) for _ in range(size.prompts)]
    lengths = [size.limit] * size.completions
    if size.mean is not None:
        lengths = skewed(size.completions, size.limit, size.mean, seed)
    return {
        "prompts": [group_prompts[index // size.group] for index in range(size.completions)],
        "completions": [ids(length) for length in lengths],
        "advantages": [rng.gauss(0, 1) for _ in lengths],
    }
