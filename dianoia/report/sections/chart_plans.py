"""Which charts each kind of stage has: the paper's figures, the health of the optimization, and the rest.

Out: tables of `ChartPlan`: title, caption, and the metrics that the chart shows. Each caption says what the
chart is and what good looks like. Not here: drawing (`sections/curves.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from dianoia.report.figures import BLUE, GREY, ORANGE, PURPLE, RED, SERIES_COLOURS, TEAL
from dianoia.report.run_reader import Stage


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of a chart. A `*` in `key` matches any text; `{key}` in `name` is the key that matched."""

    key: str
    name: str
    colour: str
    style: str = "line"


@dataclass(frozen=True, slots=True)
class ChartPlan:
    """A chart to draw if its metrics were recorded."""

    title: str
    caption: str
    series: tuple[Series, ...]
    share: bool = False
    """The y-axis goes from 0 to 100 %."""
    small: bool = False
    """A share that stays near 0: in percent, on an axis only as high as the data."""


# Keys are names of metrics in metrics.jsonl: renaming a metric there means renaming it here.
PAPER = (
    ChartPlan(
        "Accuracy",
        "Share of correct answers: of single samples (pass@1), and of the majority vote of a problem's samples "
        "(cons). Training accuracy is noisy because every step draws new problems. A model that does not rise above always giving the most common gold answer has learnt nothing, and "
        "one whose most frequent answer nears 100 % gives the same answer to every problem. "
        "Paper: AIME 2024 from 15.6 % to 77.9 %, 86.7 % with voting.",
        (
            Series("rewards/accuracy/mean", "training pass@1", GREY),
            # The number of votes is the group size, so the key differs between recipes.
            Series("cons@*", "training {key}", PURPLE, "dashed"),
            Series("heldout/pass@1", "held-out pass@1", BLUE, "dots"),
            Series("heldout/cons@*", "held-out {key}", TEAL, "dots"),
            Series(
                "heldout/baseline", "held-out, always the most common gold answer", ORANGE, "dashed"
            ),
            Series("heldout/one_answer", "held-out, most frequent answer's share", RED, "dashed"),
        ),
        share=True,
    ),
    ChartPlan(
        "Length",
        "Mean tokens per thought and per response. If both grow with accuracy, the model has learnt to think "
        "longer, as in the paper. A fall to almost nothing is a collapse.",
        (
            # Grey: the whole; blue: the part that the chart is about.
            Series("completions/mean_length", "response", GREY),
            Series("thought_tokens", "thought", BLUE),
            Series("heldout/thought_tokens", "held-out thought", TEAL, "dots"),
        ),
    ),
    ChartPlan(
        "Reflection words",
        "Words such as “wait”, “check”, “but” or “重新” per thought. In the paper they become 5 to 7 times as "
        "frequent, although nothing rewards them.",
        (
            Series("reflection", "training", GREY),
            Series("heldout/reflection", "held-out", BLUE, "dots"),
        ),
    ),
    ChartPlan(
        "Thoughts with reflection",
        "Share of thoughts with at least one reflection word. Unlike the mean number of words, it cannot be "
        "raised by a few long thoughts.",
        (Series("reflecting", "with reflection", BLUE),),
        share=True,
    ),
    ChartPlan(
        "Format",
        "Shares of responses that follow the template, break it, are cut at the length limit, or have an empty "
        "thought. The first should approach 100 %, the others 0 %.",
        (
            Series("rewards/format/mean", "correct format", BLUE),
            Series("malformed", "malformed", ORANGE),
            Series("completions/clipped_ratio", "truncated", PURPLE),
            # Dashed, because an empty thought also counts in one of the other three.
            Series("empty_thoughts", "empty thoughts", RED, "dashed"),
        ),
        share=True,
    ),
    ChartPlan(
        "Language",
        "Share of a thought's words in the question's language. It may fall if nothing rewards it: the paper's "
        "R1-Zero mixes languages too.",
        (Series("target_language", "question's language", BLUE),),
        share=True,
    ),
)

# Metrics in which the rl stages of a run are compared: their charts have one series per stage. Held-out values
# are on the same problems for all stages of a recipe, unless its [progress] tables differ.
COMPARED = (
    ("heldout/pass@1", "Held-out accuracy", "pass@1 on held-out problems while each stage trains.", True),
    ("heldout/thought_tokens", "Held-out thought length", "Tokens per thought on held-out problems.", False),
    ("reward", "Reward", "Mean reward per sample. Stages with other rewards have other scales: compare shapes.", False),
    ("heldout/reflection", "Held-out reflection words", "Words such as “wait” or “check” per thought.", False),
    ("target_language", "Language", "Share of a thought's words in the question's language, in training.", True),
    ("entropy", "Entropy", "Mean entropy per token in nats: how much each policy still explores.", False),
)  # fmt: skip
"""Metric, title, caption, and whether it is a share."""

# Signs that the optimization goes wrong, although accuracy may still rise.
HEALTH = (
    ChartPlan(
        "Reward",
        "Mean reward per sample, and the standard deviation. The mean should rise; a deviation of 0 leaves "
        "nothing to learn.",
        (
            Series("reward", "mean", BLUE),
            Series("reward_std", "standard deviation", GREY, "dashed"),
        ),
    ),
    ChartPlan(
        "Groups without a signal",
        "Share of groups whose samples all have the same reward, so that every advantage is 0. It rises as "
        "problems are solved; near 100 % the batch is wasted.",
        # The name in TRL's logs, so that runs can be compared.
        (Series("frac_reward_zero_std", "groups with equal rewards", BLUE),),
        share=True,
    ),
    ChartPlan(
        "Entropy",
        "Mean entropy per token, in nats: how much the policy still explores. It usually falls slowly. If it is "
        "near 0 early on, all samples of a group are alike.",
        (Series("entropy", "entropy", BLUE),),
    ),
    ChartPlan(
        "KL divergence from the reference",
        "The k3 estimate per token. It rises from 0 and drops whenever the reference model is refreshed. A "
        "sudden jump is a warning.",
        (Series("kl", "KL", BLUE),),
    ),
    ChartPlan(
        "Gradient norm",
        "Before clipping. Steady is good; growing spikes mean that the learning rate is too high.",
        (Series("grad_norm", "gradient norm", BLUE),),
    ),
    ChartPlan(
        "Clipped probability ratios",
        "Share of tokens whose probability ratio is clipped, at the lower and at the upper bound. A few percent "
        "is healthy; always 0 means that clipping never acts.",
        (
            # Below and above differ in meaning: the upper bound limits growth, the lower one decay.
            Series("clip_ratio/low_mean", "lower bound", ORANGE),
            Series("clip_ratio/high_mean", "upper bound", BLUE),
        ),
        small=True,
    ),
    ChartPlan(
        "Largest probability ratio",
        "Probability of a token under the policy being trained, divided by its probability under the policy "
        "that sampled it. It is 1 on the first minibatch of a rollout and should stay close to 1.",
        (Series("ratio_max", "largest ratio", BLUE),),
    ),
    ChartPlan(
        "Sampler versus learner",
        "Difference between the log-probabilities that the sampler and the learner give to the same tokens. It "
        "should be rounding noise; more than 0.01 biases the gradient.",
        (
            Series("sampling/sampling_logp_difference/mean", "mean", BLUE),
            Series("sampling/sampling_logp_difference/max", "largest", ORANGE),
        ),
    ),
    ChartPlan(
        "Seconds per step",
        "Where the time goes. Generation takes longer as thoughts grow, and most of the step once they are long.",
        (
            # Stacked, so that the height is the whole step.
            Series("generate_seconds", "generate", BLUE, "stacked"),
            Series("score_seconds", "score", PURPLE, "stacked"),
            Series("update_seconds", "update", ORANGE, "stacked"),
            Series("evaluate_seconds", "evaluate", GREY, "stacked"),
        ),
    ),
)

# Only with a value model (PPO).
VALUE = (
    ChartPlan(
        "Explained variance",
        "Share of the variance of the returns that the value model predicts: 1 is all of it, 0 no better than "
        "one number for every state. Below 0, its advantages are noisier than the plain rewards.",
        (Series("explained_variance", "explained variance", BLUE),),
    ),
    ChartPlan(
        "Value loss",
        "Half the squared difference between values and returns, per token.",
        (Series("value_loss", "value loss", BLUE),),
    ),
    ChartPlan(
        "Values and advantages",
        "The mean value follows the mean reward. The standard deviation of the advantages falls as the values predict more.",
        (
            Series("values/mean", "mean value", BLUE),
            Series("advantages/mean", "mean advantage", GREY),
            Series("advantages/std", "standard deviation of advantages", GREY, "dashed"),
        ),
    ),
)

# Only with reward models on general prompts (the second RL stage of R1).
PREFERENCES = (
    ChartPlan(
        "Held-out rewards",
        "Mean score of each reward model on held-out prompts. Compare it with held-out pass@1 above: if the score "
        "rises while pass@1 falls, the policy is exploiting the reward model (reward hacking). Paper: the helpful "
        "reward keeps rising while Codeforces falls, so it is used only in the last 400 of 1,700 steps.",
        (
            Series("heldout/rewards/helpful/mean", "helpful, held-out", BLUE, "dots"),
            Series("heldout/rewards/safety/mean", "safety, held-out", ORANGE, "dots"),
        ),
    ),
    ChartPlan(
        "Reward model scores",
        "Scores of the responses to each rollout's general prompts, unweighted. Dashed: lowest and highest.",
        (
            Series("rewards/helpful/mean", "helpful", BLUE),
            # The extremes show a reward model that saturates before its mean does.
            Series("rewards/helpful/min", "helpful, lowest", BLUE, "dashed"),
            Series("rewards/helpful/max", "helpful, highest", BLUE, "dashed"),
            Series("rewards/safety/mean", "safety", ORANGE),
            Series("rewards/safety/min", "safety, lowest", ORANGE, "dashed"),
            Series("rewards/safety/max", "safety, highest", ORANGE, "dashed"),
        ),
    ),
    ChartPlan(
        "Spread of rewards within groups",
        "Standard deviation of each weighted part of the reward within its groups. The part with the largest "
        "spread decides which samples become more likely. A part at 0 has no effect.",
        (
            # Advantages are relative to the group, so only the spread within groups can teach.
            Series("rewards/accuracy/spread", "accuracy", TEAL),
            Series("rewards/format/spread", "format", GREY),
            Series("rewards/language/spread", "language", PURPLE),
            Series("rewards/helpful/spread", "helpful", BLUE),
            Series("rewards/safety/spread", "safety", ORANGE),
        ),
    ),
    ChartPlan(
        "General prompts",
        "Share of groups scored by a reward model instead of a verifier.",
        (Series("frac_general", "general prompts", BLUE),),
        share=True,
    ),
)

# Only with problems whose answers are programs.
PROGRAMS = (
    ChartPlan(
        "Programs",
        "Outcomes of the programs in each rollout. Timeouts and crashes cost time and earn nothing: if they grow, "
        "look at the rollouts.",
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

# Charts of the stages that do not sample. The last two of PRETRAIN serve all of them.
PRETRAIN = (
    ChartPlan(
        "Loss",
        "Cross-entropy of the next token, in nats, on text that was not seen before. It falls quickly, then slowly.",
        (Series("loss", "loss", BLUE),),
    ),
    ChartPlan(
        "Learning rate",
        "The schedule: warm-up, then constant or falling.",
        (Series("learning_rate", "learning rate", BLUE),),
    ),
    ChartPlan(
        "Gradient norm",
        "Before clipping. Steady is good; growing spikes mean that the learning rate is too high.",
        (Series("grad_norm", "gradient norm", BLUE),),
    ),
)

SUPERVISED = (
    ChartPlan(
        "Loss",
        "Cross-entropy per response token, in nats. The held-out loss should fall with the training loss; if it "
        "rises while the training loss falls, the model is overfitting.",
        (
            Series("loss", "training", GREY),
            # Held-out values are rare points between many training values, so they are dots.
            Series("eval_loss", "held-out", BLUE, "dots"),
        ),
    ),
    ChartPlan(
        "Token accuracy",
        "Share of response tokens that the model ranks first, given everything before them.",
        (
            Series("mean_token_accuracy", "training", GREY),
            Series("eval_mean_token_accuracy", "held-out", BLUE, "dots"),
        ),
        share=True,
    ),
    *PRETRAIN[1:],
)

REWARD_MODEL = (
    ChartPlan(
        "Loss",
        "In nats: −log σ(chosen − rejected) for pairs, cross-entropy for labels. 0.69 is chance level.",
        (Series("loss", "loss", BLUE),),
    ),
    ChartPlan(
        "Accuracy",
        "Share of pairs whose chosen response has the higher reward, or of labels whose reward has the right sign.",
        (Series("accuracy", "training", BLUE),),
        share=True,
    ),
    ChartPlan(
        "Rewards",
        "Mean reward of chosen (or safe) and rejected (or unsafe) responses. The two should move apart.",
        (
            Series("rewards/chosen/mean", "chosen", BLUE),
            Series("rewards/rejected/mean", "rejected", ORANGE),
        ),
    ),
    *PRETRAIN[1:],
)


_GENERAL = ("helpful", "safety")
"""Reward models on general prompts have charts of their own."""


def reward_part_plans(stage: Stage) -> list[ChartPlan]:
    """Return charts of the reward parts whose names the recipe chose, and of what reward functions logged."""
    # A metric may be missing in some rows, so all rows are searched.
    keys = sorted({key for row in stage.rows for key in row})
    parts = [part for key in keys if (part := _reward_part(key)) is not None]
    logged = [key.removeprefix("logged/") for key in keys if key.startswith("logged/")]
    return [
        ChartPlan(
            "Additional rewards",
            "Mean of each part of the reward that the paper does not have, unweighted, over the samples it scores.",
            _series("rewards/{}/mean", parts),
        ),
        ChartPlan(
            "Logged values", "Values logged by reward functions.", _series("logged/{}", logged)
        ),
    ]


def _reward_part(key: str) -> str | None:
    """Return the reward part in a key of the form `rewards/NAME/std`, which the paper's parts do not write."""
    name = key.removeprefix("rewards/").removesuffix("/std")
    return name if key == f"rewards/{name}/std" and name not in _GENERAL else None


def _series(key: str, names: Sequence[str]) -> tuple[Series, ...]:
    """Return one series per name. Braces are doubled, because `Series.name` is a format string."""
    # With more than six parts colours repeat; the legend and the hover text still name them.
    pairs = zip(names, cycle(SERIES_COLOURS), strict=False)
    return tuple(
        Series(key.format(name), name.replace("{", "{{").replace("}", "}}"), colour)
        for name, colour in pairs
    )
