"""Rows of a GRPO step, Dianoia beside TRL, and of the difference between their losses."""

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.table.cases import Case, skewed
from benchmarks.table.link import Child
from benchmarks.table.rows import Row, median_row
from benchmarks.table.turns import in_turns

OURS, THEIRS = "benchmarks.table.ours", "benchmarks.table.theirs"
MEASURES = (
    ("", "seconds", "s"),
    ("_rollout", "rollout", "s"),
    ("_update", "update", "s"),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """How everything is run."""

    python: str
    """The interpreter that has Dianoia."""
    peers: str
    """The interpreter that has TRL as well."""
    folder: Path
    threads: int
    runs: int
    dtype: str = "float32"
    """Of Dianoia's products."""
    peer_dtype: str = "float32"
    """bfloat16: TRL's own mixed precision."""
    peer_batch: int = 0
    """Completions that TRL takes forward and backward at a time; 0: all."""

    def ours(self) -> Child:
        """A process of Dianoia's."""
        return Child(self.python, OURS, self.threads, self.folder / "ours.log")

    def theirs(self, module: str = THEIRS) -> Child:
        """A process of the peers'."""
        return Child(self.peers, module, self.threads, self.folder / "theirs.log")


def step_rows(chosen: Case, setting: Setting) -> Iterator[Row]:
    """A step's seconds, those of its phases, tokens a second, and the processes' peak memory."""
    with setting.ours() as ours, setting.theirs() as theirs:
        common: dict[str, Any] = {"case": asdict(chosen), "threads": setting.threads}
        place = setting.folder / f"step-{chosen.name}"
        ours.ask("open", folder=str(place / "ours"), dtype=setting.dtype, **common)
        theirs.ask("open", folder=str(place / "trl"), dtype=setting.peer_dtype,
                   batch=setting.peer_batch, **common)  # fmt: skip
        sides = {"ours": lambda: ours.ask("step"), "theirs": lambda: theirs.ask("step")}
        found = in_turns(sides, setting.runs)
        peaks = {"ours": ours.ask("peak"), "theirs": theirs.ask("peak")}
    yield from rows_of(f"grpo_step_{named(chosen, setting)}", found, peaks)


def named(chosen: Case, setting: Setting) -> str:
    """The case, and whatever is not usual about its arithmetic."""
    kinds = (("bf16", setting.dtype), ("trl_bf16", setting.peer_dtype))
    marks = [mark for mark, dtype in kinds if dtype == "bfloat16"]
    return "_".join([chosen.name, *marks])


def rows_of(
    name: str, found: dict[str, list[dict[str, float]]], peaks: dict[str, int]
) -> Iterator[Row]:
    """The rows of alternating steps."""
    ours, theirs = found["ours"], found["theirs"]
    for mark, key, unit in MEASURES:
        yield median_row(name + mark, "trl", _of(theirs, key), _of(ours, key), unit)
    speeds = [[run["tokens"] / run["seconds"] for run in side] for side in (theirs, ours)]
    yield median_row(f"{name}_tokens", "trl", *speeds, "tokens/s", "higher")
    yield Row(f"{name}_memory", "trl", peaks["theirs"] / 1e6, peaks["ours"] / 1e6, "MB")


def _of(runs: list[dict[str, float]], key: str) -> list[float]:
    return [run[key] for run in runs]


def loss_rows(chosen: Case, setting: Setting) -> Iterator[Row]:
    """The loss of the same completions, which another policy drew: with clipping, without and with a KL term."""
    batch = completions(chosen)
    with setting.ours() as ours, setting.theirs() as theirs:
        folders = ours.ask("two_models", case=asdict(chosen), folder=str(setting.folder))
        for kl in (0.0, 0.04):
            told = theirs.ask("loss", kl=kl, **folders, **batch)
            given = {"kl": kl, "old": told["old"], "dtype": setting.dtype}
            own = ours.ask("loss", **given, **folders, **batch)
            name = named(replace(chosen, kl=kl), setting)
            yield Row(f"loss_difference_{name}", "trl", told["loss"], own, "", "difference")


def completions(chosen: Case, seed: int = 0) -> dict[str, list[Any]]:
    """Random completions of the case's lengths, in groups, with advantages of either sign."""
    draw = random.Random(seed)

    def ids(count: int) -> list[int]:
        return [draw.randrange(1, chosen.vocabulary - 1) for _ in range(count)]

    asked = [ids(chosen.prompt) for _ in range(chosen.prompts)]
    lengths = [chosen.limit] * chosen.completions
    if chosen.mean is not None:
        lengths = skewed(chosen.completions, chosen.limit, chosen.mean, seed)
    return {
        "prompts": [asked[place // chosen.group] for place in range(chosen.completions)],
        "completions": [ids(length) for length in lengths],
        "advantages": [draw.gauss(0, 1) for _ in lengths],
    }
