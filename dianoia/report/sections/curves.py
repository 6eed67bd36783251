"""The curves of the training stages: the paper's figures first, then the health of the optimization.

In: the metrics of a stage, any of which may be absent. Out: charts, each with a sentence that says what it
is and what good looks like. A chart without data is left out and named by `absent`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from dianoia.report.figures import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    TEAL,
    Chart,
    Point,
    figure,
    line,
)
from dianoia.report.run_reader import Stage, number


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of a chart. A `*` in `key` matches any text; `{key}` in `name` is the key found."""

    key: str
    name: str
    colour: str
    style: str = "line"


@dataclass(frozen=True, slots=True)
class Plan:
    """A chart to draw if its metrics were recorded."""

    title: str
    caption: str
    series: tuple[Series, ...]
    share: bool = False
    small: bool = False
    """A share that stays near 0: in percent, on an axis of its own size."""


PAPER = (
    Plan(
        "Accuracy",
        "Share of right answers: one sample (pass@1), and a majority vote of a problem's samples (cons). "
        "Held-out should follow training; training is noisy, as every step draws other problems. What does not rise "
        "above always giving the commonest gold answer has solved nothing. "
        "Paper: AIME 2024 from 15.6 % to 77.9 %, by vote 86.7 %.",
        (
            Series("rewards/accuracy/mean", "training pass@1", GREY),
            Series("cons@*", "training {key}", PURPLE, "dashed"),
            Series("heldout/pass@1", "held-out pass@1", BLUE, "dots"),
            Series("heldout/cons@*", "held-out {key}", TEAL, "dots"),
            Series(
                "heldout/baseline", "held-out, always the commonest gold answer", ORANGE, "dashed"
            ),
        ),
        share=True,
    ),
    Plan(
        "Length",
        "Mean tokens of a thought and of a whole response. Growth shows that the model buys accuracy with "
        "thinking, as in the paper; a fall to nearly nothing is a collapse.",
        (
            Series("completions/mean_length", "response", GREY),
            Series("thought_tokens", "thought", BLUE),
            Series("heldout/thought_tokens", "held-out thought", TEAL, "dots"),
        ),
    ),
    Plan(
        "Reflection words",
        "Words such as “wait”, “check”, “but”, “重新” per thought. In the paper, where nothing "
        "rewards them, they become 5 to 7 times as frequent.",
        (
            Series("reflection", "training", GREY),
            Series("heldout/reflection", "held-out", BLUE, "dots"),
        ),
    ),
    Plan(
        "Thoughts that reflect",
        "Share of thoughts with at least one reflection word, so that a few wordy ones cannot pass for many.",
        (Series("reflecting", "share that reflects", BLUE),),
        share=True,
    ),
    Plan(
        "Format",
        "Responses that keep the template, break it, are cut at the length limit, or think nothing. "
        "The first should approach 100 %, the others 0.",
        (
            Series("rewards/format/mean", "format kept", BLUE),
            Series("malformed", "malformed", ORANGE),
            Series("completions/clipped_ratio", "truncated", PURPLE),
            Series("empty_thoughts", "empty thoughts", RED, "dashed"),
        ),
        share=True,
    ),
    Plan(
        "Language",
        "Share of a thought's words in the question's language. Where nothing rewards it, it may "
        "fall: the paper's R1-Zero mixes languages too.",
        (Series("target_language", "question's language", BLUE),),
        share=True,
    ),
)

HEALTH = (
    Plan(
        "Reward",
        "Mean reward of a sample and its standard deviation. The mean rises; where the deviation is 0 there "
        "is nothing to learn.",
        (Series("reward", "mean", BLUE), Series("reward_std", "deviation", GREY, "dashed")),
    ),
    Plan(
        "Groups that teach nothing",
        "Share of groups whose samples all got the same reward, hence advantage 0. It rises as problems are "
        "solved; near 100 % the batch is wasted.",
        (Series("frac_reward_zero_std", "groups with one reward", BLUE),),
        share=True,
    ),
    Plan(
        "Entropy",
        "Mean entropy of a token, in nats: how much the policy still explores. A slow fall is usual; near 0 "
        "early on, all samples of a group are alike.",
        (Series("entropy", "entropy", BLUE),),
    ),
    Plan(
        "Divergence from the reference",
        "KL (k3 estimate) per token. It rises from 0 and drops whenever the reference is refreshed; a "
        "sudden jump is a warning.",
        (Series("kl", "KL", BLUE),),
    ),
    Plan(
        "Gradient norm",
        "Before clipping. Steady is good; spikes that grow mean that the learning rate is too high.",
        (Series("grad_norm", "gradient norm", BLUE),),
    ),
    Plan(
        "Clipped ratios",
        "Share of tokens whose probability ratio left the trust region, below and above. A few per cent is "
        "healthy; always 0 means that clipping never acts.",
        (
            Series("clip_ratio/low_mean", "below", ORANGE),
            Series("clip_ratio/high_mean", "above", BLUE),
        ),
        small=True,
    ),
    Plan(
        "Largest ratio",
        "Largest probability ratio, new policy over the one that sampled. It is 1 on the first minibatch of "
        "a rollout and stays near it.",
        (Series("ratio_max", "largest ratio", BLUE),),
    ),
    Plan(
        "Sampler against learner",
        "Difference of the log-probabilities that the two give to the same tokens. It should be rounding "
        "noise; more than 0.01 biases the gradient.",
        (
            Series("sampling/sampling_logp_difference/mean", "mean", BLUE),
            Series("sampling/sampling_logp_difference/max", "largest", ORANGE),
        ),
    ),
    Plan(
        "Seconds a step",
        "Where the time goes. Writing samples grows with the thoughts, and takes the most once they are long.",
        (
            Series("generate_seconds", "generate", BLUE, "stacked"),
            Series("score_seconds", "score", PURPLE, "stacked"),
            Series("update_seconds", "update", ORANGE, "stacked"),
            Series("evaluate_seconds", "evaluate", GREY, "stacked"),
        ),
    ),
)

VALUE = (
    Plan(
        "Explained variance",
        "How much of the returns the value model foresees: 1 is everything, 0 no better than one number for "
        "every state. Below 0 its advantages are noisier than plain rewards.",
        (Series("explained_variance", "explained variance", BLUE),),
    ),
    Plan(
        "Value loss",
        "Half of the squared distance between values and returns, a token.",
        (Series("value_loss", "value loss", BLUE),),
    ),
    Plan(
        "Values and advantages",
        "The mean value follows the mean reward; the advantages' deviation falls as values foresee more.",
        (
            Series("values/mean", "mean value", BLUE),
            Series("advantages/mean", "mean advantage", GREY),
            Series("advantages/std", "deviation of advantages", GREY, "dashed"),
        ),
    ),
)

PREFERENCES = (
    Plan(
        "Held-out rewards",
        "Mean score that each reward model gives on held-out prompts. Read it beside held-out pass@1 above: where one "
        "rises and the other falls, the policy learns what the model likes and not what is good. Paper: the "
        "helpful reward keeps rising while Codeforces falls, so it takes part only in the last 400 of 1,700 steps.",
        (
            Series("heldout/rewards/helpful/mean", "helpful, held-out", BLUE, "dots"),
            Series("heldout/rewards/safety/mean", "safety, held-out", ORANGE, "dots"),
        ),
    ),
    Plan(
        "Learned rewards",
        "Scores of the general prompts of each rollout, as the models give them; lowest and highest dashed.",
        (
            Series("rewards/helpful/mean", "helpful", BLUE),
            Series("rewards/helpful/min", "helpful, lowest", BLUE, "dashed"),
            Series("rewards/helpful/max", "helpful, highest", BLUE, "dashed"),
            Series("rewards/safety/mean", "safety", ORANGE),
            Series("rewards/safety/min", "safety, lowest", ORANGE, "dashed"),
            Series("rewards/safety/max", "safety, highest", ORANGE, "dashed"),
        ),
    ),
    Plan(
        "What decides within a group",
        "Standard deviation of each part of the reward within its groups, weighted: the largest one decides which "
        "samples become likelier. A part at 0 teaches nothing.",
        (
            Series("rewards/accuracy/spread", "accuracy", TEAL),
            Series("rewards/format/spread", "format", GREY),
            Series("rewards/language/spread", "language", PURPLE),
            Series("rewards/helpful/spread", "helpful", BLUE),
            Series("rewards/safety/spread", "safety", ORANGE),
        ),
    ),
    Plan(
        "General prompts",
        "Share of a rollout's groups that are scored by a reward model instead of a verifier.",
        (Series("frac_general", "general prompts", BLUE),),
        share=True,
    ),
)

PROGRAMS = (
    Plan(
        "Programs",
        "What became of the programs of each rollout. Time-outs and crashes that grow are worth a look at the "
        "rollouts: they cost time and earn nothing.",
        (
            Series("code/passed", "passed", TEAL),
            Series("code/wrong_answer", "wrong answer", GREY),
            Series("code/error", "error", ORANGE),
            Series("code/timed_out", "timed out", RED),
            Series("code/crashed", "crashed", PURPLE),
            Series("code/no_program", "no program", BLUE, "dashed"),
        ),
    ),
)

PRETRAIN = (
    Plan(
        "Loss",
        "Cross-entropy of the next token, in nats, on text never seen before. It falls fast, then slowly.",
        (Series("loss", "loss", BLUE),),
    ),
    Plan(
        "Learning rate",
        "As scheduled: warm-up, then constant or falling.",
        (Series("learning_rate", "learning rate", BLUE),),
    ),
    Plan(
        "Gradient norm",
        "Before clipping. Steady is good; spikes that grow mean that the learning rate is too high.",
        (Series("grad_norm", "gradient norm", BLUE),),
    ),
)

SUPERVISED = (
    Plan(
        "Loss",
        "Cross-entropy of a response token, in nats. The held-out loss should fall with the training loss; "
        "where it turns up while the other falls, the model learns the samples by heart.",
        (
            Series("loss", "training", GREY),
            Series("eval_loss", "held out", BLUE, "dots"),
        ),
    ),
    Plan(
        "Tokens guessed right",
        "Share of response tokens that were the likeliest one, given everything before them.",
        (
            Series("mean_token_accuracy", "training", GREY),
            Series("eval_mean_token_accuracy", "held out", BLUE, "dots"),
        ),
        share=True,
    ),
    *PRETRAIN[1:],
)

REWARD_MODEL = (
    Plan(
        "Loss",
        "Of pairs -log σ(chosen - rejected), of labels the cross-entropy, in nats; 0.69 is a coin toss.",
        (Series("loss", "loss", BLUE),),
    ),
    Plan(
        "Told right",
        "Share of pairs whose chosen response gets the higher reward, or of labels on the right side of 0.",
        (Series("accuracy", "training", BLUE),),
        share=True,
    ),
    Plan(
        "Rewards",
        "Mean reward of chosen (safe) and rejected (unsafe) responses. They move apart.",
        (
            Series("rewards/chosen/mean", "chosen", BLUE),
            Series("rewards/rejected/mean", "rejected", ORANGE),
        ),
    ),
    *PRETRAIN[1:],
)


def charts(stage: Stage, plans: Sequence[Plan]) -> list[Chart]:
    """The charts for which the stage has numbers."""
    drawn = ((plan, _traces(plan, stage.rows)) for plan in plans)
    return [
        Chart(
            plan.title,
            plan.caption,
            figure(traces, "optimizer step", share=plan.share, small=plan.small),
        )
        for plan, traces in drawn
        if traces
    ]


def absent(stage: Stage, plans: Sequence[Plan]) -> list[str]:
    """Titles of the charts that have no numbers."""
    return [plan.title for plan in plans if not _traces(plan, stage.rows)]


def _traces(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for series in plan.series:
        for key in _keys(series.key, rows):
            points = _points(key, rows, stacked=series.style == "stacked")
            if points:
                name = series.name.format(key=key.removeprefix("heldout/"))
                found.append(
                    line(name, points, series.colour, series.style, plan.share or plan.small)
                )
    return found


def _keys(pattern: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if "*" not in pattern:
        return [pattern]
    return sorted({key for row in rows for key in row if fnmatchcase(key, pattern)})


def _points(key: str, rows: Sequence[Mapping[str, Any]], stacked: bool) -> list[Point]:
    """Finite values over their steps. A stack needs a value at every step: what did not run took 0."""
    points = []
    for row in rows:
        step, value = number(row.get("step")), number(row.get(key))
        if step is not None and (value is not None or stacked):
            points.append((step, value or 0.0))
    return points if any(number(row.get(key)) is not None for row in rows) else []
