"""Measures how a base model of the miniature thinks, and how often each way of thinking is right.

Held-out problems are sampled under the R1-Zero template. Every response gets one of four modes by the number of
derived lines in its thought: lines with "=", a step of a function such as `a +3`, or an option with its category,
such as `A iron: metal, gas? no`.
- *at once*: none.
- *derived*: fewer than 1.5 times the problem's steps, or any options. For requests, which have no steps: a plan line such as
  `France: Paris.` or `Is it harmful? No.`.
- *checked*: 1.5 times the steps or more.
- *broken*: malformed or truncated, and so without a thought.

    python -m benchmarks.base_habits miniature-base --temperature 1.0
    python -m benchmarks.base_habits miniature-base --problems-of miniature/code
    python -m benchmarks.base_habits miniature-base --all-domains --problems 128

A response is right if its verifier gives it a positive score. For a general request that means that its content is
right (or on the topic, if something is to be written), apart from whole sentences and friendliness.
Shares are of all samples. Accuracies are within a mode, with Wilson's 95 % interval; differences have Newcombe's.
Both assume independent samples, which those of one problem are not quite.
"""

import argparse
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from rich.console import Console
from rich.table import Table

from dianoia.base.records import Group, Rollout, SamplingParams
from dianoia.bases import shipped_model
from dianoia.judge.judge import evaluation_judge
from dianoia.miniature.choices import CATEGORIES, LABELS
from dianoia.miniature.programs import LETTERS
from dianoia.models.loading import load_model, load_tokenizer
from dianoia.sampler.factory import make_sampler
from dianoia.sampler.rollouts import RolloutSampler, stop_ids
from dianoia.tasks.catalog import problem_source
from dianoia.tasks.plugins import PROBLEM_SETS
from dianoia.text.prompts import Prompts
from dianoia.text.template import TEMPLATES

_Z = 1.959963984540054  # standard normal quantile of 0.975
_PROBLEMS_PER_CALL = 128
_KEY = 6_700_417
"""Separates these random streams from those of training and evaluation."""
_DOMAINS = ("math", "code", "stem", "logic", "general", "near-miss", "unsafe")
"""The sets of one domain each, for `--all-domains`."""
_REQUESTS = frozenset({"general", "near-miss", "safety"})
"""Domains of problems without steps."""
_STEP = re.compile(rf"[{LETTERS}] ?[-+*/][0-9]+")
_CATEGORY = "|".join(category for names in CATEGORIES.values() for category in names)
_OPTION = re.compile(
    rf"[{LABELS}] [^:]+: ?(?:{_CATEGORY})(?:, |，)(?:{_CATEGORY})(?:\? |？)(?:yes|no|是|否)"
)
_PLAN = re.compile(
    r"[0-9] sentences, .+\.|As a .+\.|About me\.|Is it harmful\? (?:Yes|No)\.|[^.!?:]+: .+\."
    r"|[0-9]句，.+。|像.+。|关于我。|有害吗？(?:有害|无害)。|[^。！？：]+：.+。"
)


class Mode(StrEnum):
    """The way in which a response reaches its answer."""

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
    """Language of the question."""
    difficulty: int
    """Level of the problem; 0 for a request."""
    domain: str
    """Domain of the problem."""


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
    """Count the lines of a thought that derive something."""
    # Sums have an equals sign; steps of functions and options have forms of their own.
    return sum(
        "=" in line or any(form.fullmatch(line.strip()) for form in (_STEP, _OPTION))
        for line in thought.splitlines()
    )


def has_plan(thought: str) -> bool:
    """Return True if a thought about a request has a plan line."""
    return any(_PLAN.fullmatch(line.strip()) for line in thought.splitlines())


def mode_of(rollout: Rollout) -> Mode:
    """Return the mode of a response to one of the miniature's problems."""
    # Truncated and malformed responses have no thought to read.
    if rollout.thought is None:
        return Mode.BROKEN
    # Requests have no steps to count: a plan line is their derivation.
    if rollout.problem.domain in _REQUESTS:
        return Mode.DERIVED if has_plan(rollout.thought) else Mode.AT_ONCE
    lines, steps = derived_lines(rollout.thought), rollout.problem.difficulty
    assert steps is not None, "only the miniature's problems say how many steps they have"
    if not lines:
        return Mode.AT_ONCE
    # Options are looked at once, and their difficulty is no number of lines.
    if rollout.problem.domain == "stem":
        return Mode.DERIVED
    # A check repeats the derivation, so it has about twice the lines; 1.5 lies between the two.
    return Mode.DERIVED if lines < 1.5 * steps else Mode.CHECKED


def rate(count: int, n: int) -> Rate:
    """Return a share with Wilson's interval; [0, 1] without observations."""
    if not n:
        return Rate(math.nan, 0.0, 1.0, 0)
    share, z2 = count / n, _Z * _Z
    # Wilson (1927): both ends solve |share - p| = z sqrt(p (1 - p) / n).
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    radius = _Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Rate(share, max(0.0, centre - radius), min(1.0, centre + radius), n)


def difference(a: Rate, b: Rate) -> tuple[float, float, float]:
    """Return a - b with Newcombe's interval: (value, low, high)."""
    value = a.value - b.value
    # Newcombe (1998): distances to the bounds add as squares.
    low = value - math.hypot(a.value - a.low, b.high - b.value)
    high = value + math.hypot(a.high - a.value, b.value - b.low)
    return value, low, high


def accuracy(observations: Iterable[Observation], mode: Mode | None = None) -> Rate:
    """Return the accuracy of the observations of a mode (None: all)."""
    outcomes = [sample.right for sample in observations if mode is None or sample.mode is mode]
    return rate(sum(outcomes), len(outcomes))


def observe(
    source: str,
    *,
    problems_of: Sequence[str] = ("miniature/math",),
    problems: int = 512,
    samples: int = 4,
    temperature: float = 1.0,
    max_tokens: int = 192,
    seed: int = 1,
) -> list[Observation]:
    """Sample a shipped model, a folder or a hub name on the held-out problems of the miniature's sets."""
    path = shipped_model(source) or source
    model, tokenizer = load_model(path), load_tokenizer(path)
    roller = RolloutSampler(make_sampler(model), Prompts(tokenizer, TEMPLATES["r1-zero"]))
    params = SamplingParams(max_tokens, stop_ids(model, tokenizer), temperature)
    observations = []
    for name in problems_of:
        heldout = problem_source(name).heldout(problems)
        for start in range(0, len(heldout), _PROBLEMS_PER_CALL):
            batch = heldout[start : start + _PROBLEMS_PER_CALL]
            # `first` is part of the random key, so that the size of a call changes no sample.
            rollouts = roller(batch, samples, params, (seed, _KEY), first=start)
            for group in evaluation_judge().score_rollouts(rollouts):
                observations += observed(group)
    return observations


def observed(group: Group) -> list[Observation]:
    """Return the observations of one problem's samples."""
    problem = group.problem
    return [
        Observation(
            mode=mode_of(rollout),
            # None, an unreadable gold answer, counts as wrong.
            right=(score.parts["accuracy"] or 0.0) > 0.0,
            language=problem.language,
            difficulty=problem.difficulty or 0,
            domain=problem.domain,
        )
        for rollout, score in zip(group.rollouts, group.scores, strict=True)
    ]


def mode_table(title: str, observations: Sequence[Observation]) -> Table:
    """Return a table with share and accuracy of every mode."""
    table = Table(title=title, title_justify="left")
    for name in ("mode", "share", "accuracy", "n"):
        table.add_column(name, justify="left" if name == "mode" else "right", no_wrap=True)
    for mode in Mode:
        # `n` of the accuracy is the number of responses of the mode.
        right = accuracy(observations, mode)
        share = rate(right.n, len(observations))
        table.add_row(mode.value, f"{share.value:.1%}", str(right), str(right.n))
    total = accuracy(observations)
    table.add_row("all", "100.0%", str(total), str(total.n), style="bold")
    return table


def table_by(
    name: str, observations: Sequence[Observation], key: Callable[[Observation], int | str]
) -> Table:
    """Return a table with share and accuracy of every mode, one row per value of `key`."""
    table = Table(title=f"by {name}: share, accuracy", title_justify="left")
    table.add_column(name)
    for column in (*(mode.value for mode in Mode), "all"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("n", justify="right")
    for value in sorted({key(sample) for sample in observations}):
        part = [sample for sample in observations if key(sample) == value]
        cells = []
        for mode in Mode:
            right = accuracy(part, mode)
            # A mode that does not occur has a share of 0 % and no accuracy.
            shown = f"{right.value:.0%}" if right.n else "-"
            cells.append(f"{right.n / len(part):.0%}, {shown}")
        table.add_row(str(value), *cells, f"{accuracy(part).value:.0%}", str(len(part)))
    return table


def main() -> None:
    """Print the tables of one model."""
    parser = argparse.ArgumentParser(
        description="how a base model thinks, and how often it is right"
    )
    parser.add_argument("model", help="a shipped model, a Hugging Face folder or a hub name")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--problems", type=int, default=512, help="held-out problems per set")
    sets = parser.add_mutually_exclusive_group()
    sets.add_argument(
        "--problems-of",
        default="miniature/math",
        choices=sorted(PROBLEM_SETS),
        metavar="SET",
        help="the problem set (default: miniature/math)",
    )
    sets.add_argument("--all-domains", action="store_true", help="every domain, one row each")
    parser.add_argument("--samples", type=int, default=4, help="samples per problem")
    parser.add_argument("--max-tokens", type=int, default=192, help="response tokens")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    domains = [f"miniature/{name}" for name in _DOMAINS]
    observations = observe(
        options.model,
        problems_of=domains if options.all_domains else [options.problems_of],
        problems=options.problems,
        samples=options.samples,
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        seed=options.seed,
    )
    console = Console(width=140)
    if options.all_domains:
        console.print(table_by("domain", observations, lambda sample: sample.domain))
        return
    title = f"{options.model} on {options.problems_of} at temperature {options.temperature:g}"
    console.print(
        mode_table(title, observations),
        table_by("difficulty", observations, lambda sample: sample.difficulty),
        table_by("language", observations, lambda sample: sample.language),
    )
    console.print(comparison(observations), highlight=False)


def comparison(observations: Sequence[Observation]) -> str:
    """Compare the accuracies of the modes that occur, in one line per pair."""
    once, derived, checked = (
        accuracy(observations, mode) for mode in (Mode.AT_ONCE, Mode.DERIVED, Mode.CHECKED)
    )
    lines = []
    if once.n and derived.n and derived.value:
        # Every answer at once may be wrong, and then the ratio has no bound.
        ratio = derived.value / once.value if once.value else math.inf
        lines.append(f"derived / at once: {ratio:.1f} times as often right")
    if derived.n and checked.n:
        value, low, high = difference(checked, derived)
        lines.append(f"checked - derived: {value:+.1%} [{low:+.1%}, {high:+.1%}]")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
