"""How a base model of the miniature thinks, and how often each way is right.

Held-out problems are sampled under the R1-Zero template, and every response is put into one of four modes by
the derived lines of its thought (lines with "=", a step of a function such as `a +3`, an option with its kind and whether that is asked for, such as
`A iron: metal, gas? no`): *at once* has none, *derived* has fewer than 1.5 times the problem's steps, *checked* has as many or more;
*broken* is malformed or cut and has no thought. For requests, which have no steps, *derived* has a plan line such as
`France: Paris.` or `Is it harmful? No.`.

    python -m benchmarks.base_habits miniature-base --temperature 1.0
    python -m benchmarks.base_habits miniature-base --problems-of miniature/code
    python -m benchmarks.base_habits miniature-base --all-domains --problems 128

A response is right if its verifier gives it anything: where rules decide that is all there is; to a general request its
content is right (on the topic, where something is to be written), whole sentences and friendliness aside.
Shares are of all samples. Accuracies are within a mode, with Wilson's 95 % interval; differences have Newcombe's.
Both take the samples as independent, which those of one problem are not quite.
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
from dianoia.learner.logprobs import load_model, load_tokenizer
from dianoia.miniature.choices import CATEGORIES, LABELS
from dianoia.miniature.programs import LETTERS
from dianoia.sampler.factory import make_sampler
from dianoia.sampler.rollouts import RolloutSampler, named_template, stop_ids
from dianoia.tasks.catalog import problem_source
from dianoia.tasks.plugins import PROBLEM_SETS

_Z = 1.959963984540054  # standard normal quantile of 0.975
_AT_ONCE = 128
_KEY = 6_700_417
"""Keeps these draws apart from those of training and evaluation."""
_DOMAINS = ("math", "code", "stem", "logic", "general", "near-miss", "unsafe")
"""The sets of one domain each, for `--all-domains`."""
_REQUESTS = frozenset({"general", "near-miss", "safety"})
"""Domains of problems without steps."""
_STEP = re.compile(rf"[{LETTERS}] ?[-+*/][0-9]+")
_KINDS = "|".join(kind for kinds in CATEGORIES.values() for kind in kinds)
_OPTION = re.compile(
    rf"[{LABELS}] [^:]+: ?(?:{_KINDS})(?:, |，)(?:{_KINDS})(?:\? |？)(?:yes|no|是|否)"
)
_PLAN = re.compile(
    r"[0-9] sentences, .+\.|As a .+\.|About me\.|Is it harmful\? (?:Yes|No)\.|[^.!?:]+: .+\."
    r"|[0-9]句，.+。|像.+。|关于我。|有害吗？(?:有害|无害)。|[^。！？：]+：.+。"
)


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
    """Steps of the problem; 0 for one without."""
    domain: str
    """Of the problem."""


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
    return sum(
        "=" in line or any(form.fullmatch(line.strip()) for form in (_STEP, _OPTION))
        for line in thought.splitlines()
    )


def plans(thought: str) -> bool:
    """Whether a thought about a request says what to do or what the case is."""
    return any(_PLAN.fullmatch(line.strip()) for line in thought.splitlines())


def mode_of(rollout: Rollout) -> Mode:
    """The mode of a response to one of the miniature's problems."""
    if rollout.thought is None:
        return Mode.BROKEN
    if rollout.problem.domain in _REQUESTS:
        return Mode.DERIVED if plans(rollout.thought) else Mode.AT_ONCE
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
    problems_of: Sequence[str] = ("miniature/math",),
    problems: int = 512,
    samples: int = 4,
    temperature: float = 1.0,
    max_tokens: int = 192,
    seed: int = 1,
) -> list[Observation]:
    """Sample a shipped model, a folder or a hub name on the held-out problems of the miniature's sets."""
    place = shipped_model(source) or source
    model, tokenizer = load_model(place), load_tokenizer(place)
    roller = RolloutSampler(make_sampler(model), tokenizer, named_template("r1-zero"))
    params = SamplingParams(max_tokens, stop_ids(model, tokenizer), temperature)
    found = []
    for name in problems_of:
        heldout = problem_source(name).heldout(problems)
        for start in range(0, len(heldout), _AT_ONCE):
            few = heldout[start : start + _AT_ONCE]
            rollouts = roller(few, samples, params, (seed, _KEY), first=start)
            for group in evaluation_judge().score_rollouts(rollouts):
                found += observed(group)
    return found


def observed(group: Group) -> list[Observation]:
    """The samples of one problem."""
    problem = group.problem
    return [
        Observation(
            mode=mode_of(rollout),
            right=(score.parts["accuracy"] or 0.0) > 0.0,
            language=problem.language,
            difficulty=problem.difficulty or 0,
            domain=problem.domain,
        )
        for rollout, score in zip(group.rollouts, group.scores, strict=True)
    ]


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
    parser.add_argument("--problems", type=int, default=512, help="held-out problems of a set")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--problems-of",
        default="miniature/math",
        choices=sorted(PROBLEM_SETS),
        metavar="SET",
        help="the set that they are of, miniature/math unless told otherwise",
    )
    which.add_argument(
        "--all-domains", action="store_true", help="every set of one domain, a row each"
    )
    parser.add_argument("--samples", type=int, default=4, help="samples a problem")
    parser.add_argument("--max-tokens", type=int, default=192, help="response tokens")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    every = [f"miniature/{name}" for name in _DOMAINS]
    observations = observe(
        chosen.model,
        problems_of=every if chosen.all_domains else [chosen.problems_of],
        problems=chosen.problems,
        samples=chosen.samples,
        temperature=chosen.temperature,
        max_tokens=chosen.max_tokens,
        seed=chosen.seed,
    )
    console = Console(width=140)
    if chosen.all_domains:
        console.print(crossed("domain", observations, lambda one: one.domain))
        return
    title = f"{chosen.model} on {chosen.problems_of} at temperature {chosen.temperature:g}"
    console.print(
        table(title, observations),
        crossed("steps", observations, lambda one: one.difficulty),
        crossed("language", observations, lambda one: one.language),
    )
    console.print(compared(observations), highlight=False)


def compared(observations: Sequence[Observation]) -> str:
    """What deriving and checking bring, where both ways occur."""
    once, derived, checked = (
        accuracy(observations, mode) for mode in (Mode.AT_ONCE, Mode.DERIVED, Mode.CHECKED)
    )
    lines = []
    if once.n and derived.n and derived.value:
        ratio = derived.value / once.value if once.value else math.inf
        lines.append(f"derived / at once: {ratio:.1f} times as often right")
    if derived.n and checked.n:
        value, low, high = difference(checked, derived)
        lines.append(f"checked - derived: {value:+.1%} [{low:+.1%}, {high:+.1%}]")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
