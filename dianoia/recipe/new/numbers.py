"""Chooses the numbers of a new recipe, each with its reason: a pure function of model, problems and machine.

"paper" is DeepSeek-R1 (arXiv 2501.12948v2), "TRL" the defaults of its GRPOConfig, "miniature" the recipe miniature-r1, whose
numbers were measured over three seeds; "ours" is a choice without a measurement behind it.
"""

from typing import NamedTuple

from dianoia.base.errors import ConfigError
from dianoia.recipe.new.facts import Facts

_LARGE = 50e6
"""Parameters from which bfloat16 saves more than it costs on a CPU with instructions for it."""


class Choice(NamedTuple):
    """A number, or a name, with its reason."""

    value: float | int | str
    reason: str


def learning_rate(facts: Facts, lora: bool) -> Choice:
    """Return the peak rate of reinforcement learning."""
    parameters = facts.model.parameters
    if facts.model.is_tiny:
        rate, reason = 2e-4, "miniature-zero: a model of a million parameters"
    elif parameters < 300e6:
        rate, reason = 1e-5, "examples/smollm2: 135 M parameters"
    else:
        rate, reason = 2e-6, "paper, of its Qwen2.5-32B-Zero (B.4); verl and TRL: 1e-6"
    if not lora:
        return Choice(rate, reason)
    # Schulman and others, "LoRA without regret", 2025.
    return Choice(
        _rounded(10 * rate), f"ten times that of all weights, as LoRA wants it ({reason})"
    )


def fine_tuning_rate(facts: Facts) -> Choice:
    """Return the peak rate of supervised fine-tuning."""
    parameters = facts.model.parameters
    if facts.model.is_tiny:
        return Choice(8e-4, "miniature")
    # The paper's students, table of B.4.3.
    for most, rate in ((2.5e9, 1e-4), (10e9, 8e-5), (20e9, 7e-5), (50e9, 6e-5)):
        if parameters < most:
            return Choice(
                rate, "paper, of its student of this size (B.4.3), and a cosine to a tenth of it"
            )
    return Choice(5e-5, "paper, of DeepSeek-V3-Base (B.4.2), and a cosine to a tenth of it")


def group_size(facts: Facts) -> Choice:
    """Return the samples per problem."""
    if facts.model.is_tiny or not facts.machine.cpu:
        return Choice(16, "paper")
    return Choice(8, "TRL; paper: 16. On a CPU half as many samples take half the time")


def problems_per_rollout(facts: Facts) -> Choice:
    """Return the problems sampled before each step."""
    if facts.model.is_tiny:
        choice = Choice(
            32, "paper: 32 questions per step (R1-Zero samples 512 at a time, for 16 steps)"
        )
    elif facts.machine.cpu:
        choice = Choice(12, "examples/smollm2; paper: 32 per step")
    else:
        choice = Choice(
            32, "paper: 32 questions per step (R1-Zero samples 512 at a time, for 16 steps)"
        )
    train = facts.problems.train
    if train is not None and train < int(choice.value):
        return Choice(train, "all training problems that there are, at each step")
    return choice


def steps(facts: Facts) -> Choice:
    """Return the optimizer steps: two visits to every problem, 20 at least, 200 at most."""
    if facts.problems.train is None:
        if facts.model.is_tiny:
            return Choice(16, "miniature-zero")
        return Choice(100, "ours: enough to see whether it learns; paper: 10,400")
    per_step = int(problems_per_rollout(facts).value)
    visits = -(-2 * facts.problems.train // per_step)
    if visits > 200:
        return Choice(
            200,
            f"ours: {200 * per_step:,} visits to {facts.problems.train:,} training problems; paper: 10,400 steps",
        )
    if visits < 20:
        return Choice(
            20,
            f"ours: the {facts.problems.train:,} training problems are seen {20 * per_step / facts.problems.train:.0f} times; more problems would serve better",
        )
    return Choice(
        visits,
        f"ours: two visits to each of {facts.problems.train:,} training problems; paper: 1.6",
    )


def max_tokens(facts: Facts) -> Choice:
    """Return the limit on response tokens.

    Raises:
        ConfigError: the longest question leaves no room.
    """
    if facts.model.is_tiny:
        choice = Choice(192, "miniature")
    elif facts.machine.cpu:
        choice = Choice(
            256,
            "ours: on a CPU every token counts; paper: 32,768. completions/clipped_ratio says how many are cut",
        )
    else:
        choice = Choice(
            1024,
            "ours; paper: 32,768. completions/clipped_ratio in the metrics says how many are cut: raise it then",
        )
    positions = facts.model.positions
    room = choice.value if positions is None else positions - facts.problems.prompt_tokens
    if int(room) < 32:
        raise ConfigError(
            f"--model {facts.model.source} has {positions} positions for prompt and response together, and the longest question of "
            f"{facts.problems.name} takes about {facts.problems.prompt_tokens} tokens, so that no room is left for a response; use a "
            "model with more positions, or shorter problems"
        )
    if int(room) < int(choice.value):
        return Choice(
            int(room), f"what the longest prompt leaves of the model's {positions} positions"
        )
    return choice


def sample_length(facts: Facts) -> Choice:
    """Return the longest sample of fine-tuning in tokens: prompt, response, end."""
    needed = facts.problems.prompt_tokens + int(max_tokens(facts).value)
    length = -(-needed // 64) * 64  # rounded up
    positions = facts.model.positions
    if positions is not None and positions < length:
        return Choice(positions, "the model's positions")
    return Choice(length, "the longest prompt and response, rounded up")


def dtype(facts: Facts) -> Choice:
    """Return the type of matrix products and of the sampler's weights."""
    if not facts.machine.cpu:
        return Choice(
            "bfloat16",
            "half the memory, several times the speed; weights and averages stay float32",
        )
    faster = facts.machine.bfloat16 > facts.machine.float32
    if facts.model.parameters > _LARGE and faster:
        return Choice(
            "bfloat16", "this CPU has instructions for it; weights and averages stay float32"
        )
    return Choice("float32", "")


def prompts(facts: Facts, most: int, paper: str) -> Choice:
    """Return the problems that a `sample` stage draws."""
    train = facts.problems.train
    if train is not None and train < most:
        return Choice(train, f"every training problem once; paper: {paper}")
    return Choice(most, f"ours; paper: {paper}")


def _rounded(rate: float) -> float:
    # One digit, as people write rates: ten times 2e-6 is 1.9999999999999998e-05.
    return float(f"{rate:.1g}")
