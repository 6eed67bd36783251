"""How a base model of the miniature thinks, and how often each way is right.

Held-out problems are sampled under the R1-Zero template, and every response is put into one of four modes by
the derived lines of its thought (lines with "="): *at once* has none, *derived* has fewer than 1.5 times the
problem's steps, *checked* has as many or more; *broken* is malformed or cut and has no thought.

    python -m benchmarks.base_habits miniature-base --temperature 1.0

Shares are of all samples. Accuracies are within a mode, with Wilson's 95 % interval; differences have Newcombe's.
Both take the samples as independent, which those of one problem are not quite.
"""

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from rich.console import Console
from rich.table import Table

from dianoia.base.records import Rollout, SamplingParams
from dianoia.bases import shipped_model
from dianoia.engine.factory import make_sampler
from dianoia.learner.model import load_model, load_tokenizer
from dianoia.roles.judge import evaluation_rubric, judge
from dianoia.roles.rollout import Roller, named_template, stop_ids
from dianoia.tasks.miniature.problems import MiniatureProblems

_Z = 1.959963984540054  # standard normal quantile of 0.975
_AT_ONCE = 128
_KEY = 6_700_417
"""Keeps these draws apart from those of training and evaluation."""


class Mode(StrEnum):
    """How a response came to its answer."""

    AT_ONCE = "at once"
    DERIVED = "derived"
    CHECKED = "checked"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Observation:
    """One sample."""

    mode: Mode
    right: bool
    language: str
    """Of the question."""
    difficulty: int
    """Steps of the problem."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of n with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if not self.n:
            return "-"
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


def derived_lines(thought: str) -> int:
    """Lines that derive something."""
    return sum("=" in line for line in thought.splitlines())


def mode_of(rollout: Rollout) -> Mode:
    """The mode of a response to a problem with a known number of steps."""
    if rollout.thought is None:
        return Mode.BROKEN
    lines, steps = derived_lines(rollout.thought), rollout.problem.difficulty
    assert steps is not None, "only the miniature's problems say how many steps they have"
    if not lines:
        return Mode.AT_ONCE
    return Mode.DERIVED if lines < 1.5 * steps else Mode.CHECKED


def rate(count: int, n: int) -> Rate:
    """Wilson's interval. Without observations it says nothing: [0, 1]."""
    if not n:
        return Rate(math.nan, 0.0, 1.0, 0)
    share, z2 = count / n, _Z * _Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Rate(share, max(0.0, centre - half), min(1.0, centre + half), n)


def difference(a: Rate, b: Rate) -> tuple[float, float, float]:
    """a - b with Newcombe's interval: (value, low, high)."""
    value = a.value - b.value
    low = value - math.hypot(a.value - a.low, b.high - b.value)
    high = value + math.hypot(a.high - a.value, b.value - b.low)
    return value, low, high


def accuracy(observations: Iterable[Observation], mode: Mode | None = None) -> Rate:
    """How often the observations of a mode (None: all) are right."""
    chosen = [one.right for one in observations if mode is None or one.mode is mode]
    return rate(sum(chosen), len(chosen))


def observe(
    source: str,
    *,
    problems: int = 512,
    samples: int = 4,
    temperature: float = 1.0,
    max_tokens: int = 192,
    seed: int = 1,
) -> list[Observation]:
    """Sample a shipped model, a folder or a hub name on the miniature's held-out problems."""
    place = shipped_model(source) or source
    model, tokenizer = load_model(place), load_tokenizer(place)
    roller = Roller(make_sampler(model), tokenizer, named_template("r1-zero"))
    params = SamplingParams(max_tokens, stop_ids(model, tokenizer), temperature)
    heldout, found = MiniatureProblems("math").heldout(problems), []
    for start in range(0, len(heldout), _AT_ONCE):
        few = heldout[start : start + _AT_ONCE]
        rollouts = roller(few, samples, params, (seed, _KEY), first=start)
        for group in judge(evaluation_rubric(), rollouts):
            problem = group.problem
            for rollout, score in zip(group.rollouts, group.scores, strict=True):
                right = score.parts["accuracy"] == 1.0
                steps = problem.difficulty or 0
                found.append(Observation(mode_of(rollout), right, problem.language, steps))
    return found


def table(title: str, observations: Sequence[Observation]) -> Table:
    """Share and accuracy of every mode."""
    made = Table(title=title, title_justify="left")
    for name in ("mode", "share", "accuracy", "n"):
        made.add_column(name, justify="left" if name == "mode" else "right", no_wrap=True)
    for mode in Mode:
        found = accuracy(observations, mode)
        share = rate(found.n, len(observations))
        made.add_row(mode.value, f"{share.value:.1%}", str(found), str(found.n))
    whole = accuracy(observations)
    made.add_row("all", "100.0%", str(whole), str(whole.n), style="bold")
    return made


def crossed(
    name: str, observations: Sequence[Observation], key: Callable[[Observation], int | str]
) -> Table:
    """Share and accuracy of every mode, a row for each value of `key`."""
    made = Table(title=f"by {name}: share, accuracy", title_justify="left")
    made.add_column(name)
    for column in (*(mode.value for mode in Mode), "all"):
        made.add_column(column, justify="right", no_wrap=True)
    made.add_column("n", justify="right")
    for value in sorted({key(one) for one in observations}):
        part = [one for one in observations if key(one) == value]
        cells = []
        for mode in Mode:
            found = accuracy(part, mode)
            right = f"{found.value:.0%}" if found.n else "-"
            cells.append(f"{found.n / len(part):.0%}, {right}")
        made.add_row(str(value), *cells, f"{accuracy(part).value:.0%}", str(len(part)))
    return made


def main() -> None:
    """Print the tables of one model."""
    parser = argparse.ArgumentParser(
        description="how a base model thinks, and how often it is right"
    )
    parser.add_argument("model", help="a shipped model, a Hugging Face folder or a hub name")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--problems", type=int, default=512, help="held-out problems")
    parser.add_argument("--samples", type=int, default=4, help="samples a problem")
    parser.add_argument("--max-tokens", type=int, default=192, help="response tokens")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    observations = observe(
        chosen.model,
        problems=chosen.problems,
        samples=chosen.samples,
        temperature=chosen.temperature,
        max_tokens=chosen.max_tokens,
        seed=chosen.seed,
    )
    console = Console()
    console.print(
        table(f"{chosen.model} at temperature {chosen.temperature:g}", observations),
        crossed("steps", observations, lambda one: one.difficulty),
        crossed("language", observations, lambda one: one.language),
    )
    once, derived, checked = (
        accuracy(observations, mode) for mode in (Mode.AT_ONCE, Mode.DERIVED, Mode.CHECKED)
    )
    ratio = derived.value / once.value if once.value else math.inf
    value, low, high = difference(checked, derived)
    console.print(
        f"derived / at once: {ratio:.1f} times as often right\n"
        f"checked - derived: {value:+.1%} [{low:+.1%}, {high:+.1%}]",
        highlight=False,
    )


if __name__ == "__main__":
    main()
