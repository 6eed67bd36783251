"""Defines every metric that a stage writes: name, unit, definition. The reference page is generated from here.

In: nothing. Out: `METRICS`, by the kind of stage, and `defined`, which tells whether a key has a definition. Names are TRL's
where TRL has the metric. Not here: how a metric is computed (`group_metrics`, `training_metrics`, `reward_model_metrics`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_PLACEHOLDERS = {"NAME": r"[^/]+", "PART": r"\w+", "MODEL": r"(helpful|safety)", "VERDICT": r"\w+"}
"""Words of a name that stand for others: the name of a part of the reward, of a reward model, of a verdict."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. A name may hold a placeholder (`NAME`, `PART`, `MODEL`, `VERDICT`) or end in `@k`."""

    name: str
    unit: str
    """Empty for a number without a unit."""
    definition: str

    def matches(self, key: str) -> bool:
        """Tell whether a key of a file is this metric."""
        # re.escape leaves `@`, `/` and letters as they are, so that placeholders are still there to replace.
        pattern = re.escape(self.name).replace("@k", r"@\d+")
        for word, meaning in _PLACEHOLDERS.items():
            pattern = pattern.replace(word, meaning)
        return re.fullmatch(pattern, key) is not None


@dataclass(frozen=True, slots=True)
class Section:
    """Metrics of one topic."""

    title: str
    """Empty where a kind of stage has one topic."""
    metrics: tuple[Metric, ...]
    about: str = ""
    """What holds for all of them: what means are over, and when they are there."""


METRICS: Mapping[str, tuple[Section, ...]] = {
    "rl": (
        Section(
            "The rollout",
            (
                Metric("step", "optimizer steps", "Steps taken, this one included"),
                Metric(
                    "rollout",
                    "rollouts",
                    "Number of the rollout the step belongs to, from 0; absent from row 0",
                ),
                Metric(
                    "num_tokens",
                    "tokens",
                    "Response tokens sampled for training so far, end tokens and discarded groups included, prompts and the held-out curve not",
                ),
                Metric(
                    "reward",
                    "reward",
                    "Mean of R = Σ weight × rule over the rules that apply; the overlong rule has weight 1. A sample to which no rule with a weight applies has the mean of its group's others",
                ),
                Metric(
                    "reward_std",
                    "reward",
                    "Population standard deviation of R over all samples (not within groups)",
                ),
                Metric(
                    "frac_reward_zero_std",
                    "share",
                    "Groups whose rewards are all equal; their advantages are 0 (not with `ppo`)",
                ),
                Metric(
                    "rewards/accuracy/mean",
                    "share",
                    "Right samples, over those whose gold answer can be read: training pass@1. Malformed and truncated samples count as 0",
                ),
                Metric("rewards/format/mean", "share", "Finished samples"),
                Metric(
                    "rewards/language/mean",
                    "share",
                    "Mean of words in the problem's language / words (eq. 7); malformed and truncated samples count as 0, thoughts without words are left out; only with `rewards.language` above 0",
                ),
                Metric(
                    "rewards/random/mean",
                    "share",
                    "Heads of the coin; only with `rewards.random` above 0",
                ),
                Metric(
                    "rewards/overlong/mean",
                    "reward",
                    "Mean of -min(1, max(0, n - (max_tokens - cache)) / cache), n response tokens; only with `rewards.overlong_cache` above 0",
                ),
                Metric(
                    "rewards/NAME/mean",
                    "reward",
                    "With further parts of the reward; NAME is `repetition`, `cosine`, `tags`, `judge`, or the name of a function or model. Mean over the samples it applies to, unweighted",
                ),
                Metric("rewards/NAME/std", "reward", "Population standard deviation of these"),
                Metric(
                    "logged/NAME",
                    "",
                    "What reward functions gave to `log_metric` under this name, averaged over its calls",
                ),
                Metric(
                    "judge/unread",
                    "share",
                    "With `rewards.judge`: replies since the rollout before, those of the held-out curve included, that held no verdict",
                ),
                Metric(
                    "rewards/MODEL/mean",
                    "score",
                    "With `preferences`; MODEL is `helpful` or `safety`. Mean score of the rollout's prompts of that set, unweighted; malformed and truncated samples count as in the reward; absent while there are none",
                ),
                Metric("rewards/MODEL/std", "score", "Population standard deviation of these"),
                Metric("rewards/MODEL/min", "score", "The lowest"),
                Metric("rewards/MODEL/max", "score", "The highest"),
                Metric(
                    "rewards/PART/spread",
                    "reward",
                    "With `preferences`, of every part of the reward: its weight × the mean over the groups that have it of the population standard deviation within the group. The largest decides the advantages",
                ),
                Metric(
                    "frac_general",
                    "share",
                    "With `preferences`: groups whose problem is a general prompt",
                ),
                Metric(
                    "code/VERDICT",
                    "programs",
                    "Where problems have a verifier that runs programs (`code`, `input`, `gym`): programs of this rollout by verdict, `passed`, `wrong_answer`, `error` (exception or exit status), `timed_out`, `out_of_memory`, `output_limit`, `process_limit`, `crashed`, `killed` or `no_program`; malformed and truncated samples hold none",
                ),
                Metric(
                    "math/VERDICT",
                    "answers",
                    "Where problems have the verifier `math`: answers of this rollout by verdict, `right`, `wrong`, `unreadable`, `repeated`, `too_large`, `timed_out`, `out_of_memory`, `crashed` or `gold_unreadable`; malformed and truncated samples have no answer",
                ),
                Metric(
                    "plain/VERDICT",
                    "answers",
                    "Where problems have a plain verifier (`number`, `exact`, `reference`, `choice`, `output`, `value`, `miniature`): answers of this rollout that it could not grade within its limits, `timed_out`, `out_of_memory` or `crashed`",
                ),
                Metric(
                    "completions/mean_length", "tokens", "Mean response length, end token included"
                ),
                Metric("completions/max_length", "tokens", "Longest response"),
                Metric("completions/clipped_ratio", "share", "Samples cut at `max_tokens`"),
                Metric(
                    "malformed",
                    "share",
                    "Samples that ended by themselves and break a rule of the template. Finished + malformed + truncated = 1",
                ),
                Metric(
                    "thought_tokens",
                    "tokens",
                    "Mean length of the text between the thinking tags, over finished samples; `null` without any",
                ),
                Metric(
                    "empty_thoughts",
                    "share",
                    "Finished samples whose thought is blank: nothing but white space",
                ),
                Metric(
                    "reflection",
                    "words",
                    "Reflection words per thought (the list of appendix C, and Chinese ones), over finished samples",
                ),
                Metric("reflecting", "share", "Finished samples with at least one reflection word"),
                Metric(
                    "target_language",
                    "share",
                    "Mean over finished samples of words in the question's language / words (eq. 7); thoughts without words, and those whose target cannot be told apart here, are left out",
                ),
                Metric(
                    "cons@k",
                    "share",
                    "Problems whose majority answer is right, k = `group_size`; answers that mean the same vote together",
                ),
                Metric(
                    "one_answer",
                    "share",
                    "Mean over problems of the share of answers that are the rollout's most common one; `null` without any answer",
                ),
            ),
            about='Means are over the samples of the rollout unless said otherwise. Those about thoughts (`thought_tokens` to `target_language`), `cons@k` and `one_answer` are over problems with verifiers, so that general prompts do not move them. "Finished" is a response that ended by itself and keeps the template. With `dynamic_sampling` the rows describe everything that was drawn, not only the groups that were kept.',
        ),
        Section(
            "The update",
            (
                Metric(
                    "loss",
                    "",
                    "The minimised objective, KL term included: numerator over the step's one denominator. It does not measure progress",
                ),
                Metric(
                    "kl",
                    "nats per token",
                    "Mean of r - log r - 1, r = π_ref / π; `null` without a reference",
                ),
                Metric(
                    "entropy",
                    "nats per token",
                    "Mean of -Σ_v π(v) log π(v) where response tokens were drawn, at the sampling temperature",
                ),
                Metric("grad_norm", "", "Euclidean norm of the gradient before clipping"),
                Metric("learning_rate", "", "Rate of this step"),
                Metric(
                    "clip_ratio/low_mean",
                    "share of tokens",
                    "ρ < 1 - `clip_low` and A < 0 (for `cispo`: whatever A)",
                ),
                Metric(
                    "clip_ratio/high_mean",
                    "share of tokens",
                    "ρ > 1 + `clip_high` and A > 0 (for `cispo`: whatever A)",
                ),
                Metric(
                    "ratio_max", "", "Largest ρ = π / π_old of a token; for `gspo` of a sequence"
                ),
                Metric(
                    "sampling/sampling_logp_difference/mean",
                    "nats",
                    "Mean of |learner - sampler| log-probability of the same token under the same weights; only on the first step of a rollout",
                ),
                Metric("sampling/sampling_logp_difference/max", "nats", "Largest of them"),
                Metric(
                    "sampling/weights_age/mean",
                    "optimizer steps",
                    "With `rollouts.staleness`: steps between the weights that drew a sample and the first update on it, mean over the samples; in the row of a rollout's first step",
                ),
                Metric("sampling/weights_age/max", "optimizer steps", "Largest of them"),
                Metric(
                    "padding_share",
                    "share",
                    "Positions that went through the model and were padding",
                ),
            ),
            about="Token means are over the response tokens that went through the model. With `kl_coefficient` = 0 a sample of advantage 0 has no gradient and is not run, so `entropy` and the ratios are then over the informative groups only.",
        ),
        Section(
            "PPO",
            (
                Metric(
                    "value_loss",
                    "reward²",
                    "Mean of ½ (value - return)², the larger of clipped and unclipped with `value_clip`",
                ),
                Metric(
                    "value_grad_norm",
                    "",
                    "Euclidean norm of the value model's gradient before clipping",
                ),
                Metric(
                    "value_clip_ratio", "share of tokens", "Tokens whose value is held at its bound"
                ),
                Metric(
                    "explained_variance",
                    "",
                    "1 - Var(return - V) / Var(return): 1 foresees everything, 0 no more than one number would; `null` where all returns are equal",
                ),
                Metric(
                    "values/mean",
                    "reward",
                    "Mean of V; `null` where no sample counts, like the next two",
                ),
                Metric("advantages/mean", "reward", "Mean of A"),
                Metric("advantages/std", "reward", "Population standard deviation of A"),
            ),
            about='Only with `algorithm.name = "ppo"`, over the response tokens of the step. V is the value before the first update of the rollout, A the advantage before whitening, and A + V the return that the value model learns.',
        ),
        Section(
            "The held-out curve",
            (
                Metric(
                    "heldout/pass@1", "share", "Mean over problems of the share of right samples"
                ),
                Metric("heldout/cons@k", "share", "Problems whose majority answer is right"),
                Metric(
                    "heldout/baseline",
                    "share",
                    "What one answer to all of them would have at best; the same at every point",
                ),
                Metric(
                    "heldout/one_answer", "share", "Answers that are the policy's most common one"
                ),
                Metric(
                    "heldout/thought_tokens",
                    "tokens",
                    "Mean over problems of the mean thought length of finished samples",
                ),
                Metric("heldout/reflection", "words", "The same for reflection words per thought"),
                Metric(
                    "heldout/rewards/MODEL/mean",
                    "score",
                    "With `preferences`: mean over as many held-out general prompts of the mean score of their samples, unweighted. A prompt without a finished sample counts as the lowest score of the point; `null` where no sample at all has finished",
                ),
            ),
            about="Every `progress.every` steps, on `progress.problems` held-out problems with k = `progress.samples` samples each, at the length limit that holds in training. The same random draws serve every point. Definitions as for `evaluate`, without intervals.",
        ),
        Section(
            "Times",
            (
                Metric(
                    "generate_seconds",
                    "s",
                    "Sampling, and beside it what is verified meanwhile; of the whole rollout, in its first row",
                ),
                Metric("score_seconds", "s", "Judging; of the whole rollout"),
                Metric(
                    "update_seconds",
                    "s",
                    "Optimizer step and the sampler's new weights; in the first row also the reference's log-probabilities",
                ),
                Metric("evaluate_seconds", "s", "The held-out curve's point"),
            ),
            about="Apart from keys that end in `seconds`, two runs of one seed on one machine write the same rows.",
        ),
    ),
    "sft": (
        Section(
            "",
            (
                Metric("step", "optimizer steps", "Steps taken, this one included"),
                Metric(
                    "epoch", "epochs", "Samples seen so far over samples per epoch, copies counted"
                ),
                Metric("tokens", "tokens", "Tokens of the samples seen so far, prompts included"),
                Metric(
                    "loss",
                    "nats per token",
                    "Mean negative log-likelihood of the step's learnt tokens, before the update",
                ),
                Metric(
                    "mean_token_accuracy",
                    "share",
                    "Of these tokens, those that were the likeliest one",
                ),
                Metric("grad_norm", "", "Euclidean norm of the gradient before clipping"),
                Metric("learning_rate", "", "Rate of this step"),
                Metric(
                    "eval_loss",
                    "nats per token",
                    "Mean negative log-likelihood of all learnt tokens held out, after the update; only where evaluated",
                ),
                Metric(
                    "eval_mean_token_accuracy",
                    "share",
                    "Of these tokens, those that were the likeliest one",
                ),
                Metric(
                    "tokens_per_second",
                    "tokens/s",
                    "Tokens since the stage was started or resumed, over the time since, evaluations included",
                ),
            ),
        ),
    ),
    "pretrain": (
        Section(
            "",
            (
                Metric("step", "optimizer steps", "Steps taken, this one included"),
                Metric(
                    "tokens", "tokens", "Real tokens in the batches so far, padding not counted"
                ),
                Metric(
                    "loss",
                    "nats per token",
                    "Mean cross-entropy of the next token over all tokens of the batch but the first of each document; on text not trained on before, so it is a held-out loss too",
                ),
                Metric("grad_norm", "", "Euclidean norm of the gradient before clipping"),
                Metric("learning_rate", "", "Rate of this step"),
                Metric(
                    "tokens_per_second",
                    "tokens/s",
                    "Real tokens since the stage was started or resumed, over the time since",
                ),
            ),
        ),
    ),
    "reward_model": (
        Section(
            "",
            (
                Metric("step", "optimizer steps", "Steps taken, this one included"),
                Metric("epoch", "", "Passes over the data completed before the step"),
                Metric("num_tokens", "tokens", "Real tokens learnt from so far, prompts included"),
                Metric(
                    "loss",
                    "nats",
                    "Mean over the step: -log sigmoid(chosen - rejected) of a pair, binary cross-entropy of a label",
                ),
                Metric(
                    "accuracy",
                    "share",
                    "Pairs whose chosen response has the higher reward, labels whose side the reward's sign is on; a tie counts half",
                ),
                Metric(
                    "margin",
                    "reward",
                    "Mean reward of chosen minus that of rejected; null where a step has one kind only",
                ),
                Metric("rewards/chosen/mean", "reward", "Mean reward of chosen responses"),
                Metric("rewards/chosen/std", "reward", "Their population standard deviation"),
                Metric("rewards/rejected/mean", "reward", "Mean reward of rejected responses"),
                Metric("rewards/rejected/std", "reward", "Their population standard deviation"),
                Metric("grad_norm", "", "Euclidean norm of the gradient before clipping"),
                Metric("learning_rate", "", "Rate of this step"),
                Metric("step_seconds", "s", "Time of the step"),
            ),
        ),
    ),
    "evaluate": (
        Section(
            "",
            (
                Metric(
                    "pass@1",
                    "share",
                    "Mean over problems of (right samples) / k; malformed and truncated samples are not right (D.1)",
                ),
                Metric(
                    "baseline",
                    "share",
                    "Mean over problems of the grade of one answer that is given to all of them: the most common gold answer of the domain, or of the level, see votes and baseline. A model that reasons is above it",
                ),
                Metric(
                    "one_answer",
                    "share",
                    "Mean over problems of the share of answers that are the model's own most common one; problems without an answer are left out",
                ),
                Metric(
                    "cons@k",
                    "share",
                    "Mean over problems of the majority answer's grade. Answers that mean the same to the problem's verifier vote together; tied answers share the vote: the mean of their grades counts; a problem without a vote is wrong",
                ),
                Metric(
                    "vote_gain",
                    "share",
                    "cons@k less pass@1, problem by problem: the same samples serve both, so this interval says whether voting helps where theirs overlap",
                ),
                Metric(
                    "pass@k",
                    "share",
                    "Mean over problems of 1 - C(n - c, k) / C(n, k), c right of n samples (arXiv 2107.03374). For n = k that is the share of problems with a right sample; smaller k are those of `pass_at`",
                ),
                Metric("format", "share", "Finished samples"),
                Metric("truncated", "share", "Samples cut at `max_tokens`"),
                Metric(
                    "thought_tokens", "tokens", "Mean length of a thought, over finished samples"
                ),
                Metric(
                    "reflection", "words", "Reflection words per thought, over finished samples (C)"
                ),
                Metric("reflecting", "share", "Finished samples with at least one reflection word"),
                Metric(
                    "target_language",
                    "share",
                    "Words of a thought in the question's language / its words (eq. 7), over finished samples with words",
                ),
            ),
        ),
    ),
    "sample": (
        Section(
            "",
            (
                Metric("sampled", "samples", "All that were drawn"),
                Metric("kept", "samples", "Rows of `data.parquet`"),
                Metric(
                    "rejected",
                    "samples by reason",
                    "Rows of `rejected.parquet`; each sample has the first reason that applies, in the order below",
                ),
                Metric(
                    "details",
                    "samples by reason and detail",
                    "Which rule of the template a malformed sample breaks, why the rewriter refused",
                ),
                Metric("by_domain", "as above, by domain", "`sampled`, `kept` and `rejected`"),
                Metric("problems", "problems", "That were sampled"),
                Metric("problems_kept", "problems", "With at least one kept sample"),
                Metric("tokens", "tokens", "Sampled, end tokens included"),
                Metric("thought_tokens_kept", "tokens", "Of the thoughts in `data.parquet`"),
                Metric(
                    "verdicts",
                    "answers by verifier and verdict",
                    "Of problems with the verifier `math` or `code`, or a plain one; a rewritten sample whose answer is looked up again counts twice",
                ),
                Metric("seconds", "seconds", "Of all batches: sampling, judging, rewriting"),
            ),
        ),
    ),
    "demonstrations": (
        Section(
            "",
            (
                Metric("rows", "rows", "Of `data.parquet`"),
                Metric("questions", "questions", "Different ones among them"),
                Metric("without_thought", "rows", "Whose thought is blank"),
                Metric("by_domain", "rows by domain", "They add up to `rows`"),
                Metric("by_language", "rows by language", "They add up to `rows`"),
                Metric("seconds", "seconds", "Of the stage"),
            ),
        ),
    ),
    "preferences": (
        Section(
            "",
            (
                Metric("sampled", "responses", "All that were drawn"),
                Metric("kept", "responses", "Those in a pair, or with a label"),
                Metric(
                    "left_out",
                    "responses by reason",
                    "Rows of `rejected.parquet`; each has the first reason that applies, in the order below",
                ),
                Metric(
                    "by_checkpoint", "as above, by checkpoint", "`sampled`, `kept` and `left_out`"
                ),
                Metric("by_domain", "as above, by domain", "The same"),
                Metric("problems", "problems", "That were sampled"),
                Metric("problems_kept", "problems", "With at least one kept response"),
                Metric("rows", "rows", "Of `data.parquet`"),
                Metric(
                    "verdicts",
                    "verdicts by label",
                    "Pairs: with `verdicts_unreadable` they are `rows` × `judgements`",
                ),
                Metric(
                    "verdicts_unreadable",
                    "verdicts",
                    "Pairs: null in `data.parquet`. A `reward_model` stage leaves such pairs out",
                ),
                Metric("labels", "rows by label", "Labelled responses: `safe` and `unsafe`"),
                Metric("seconds", "seconds", "Of all batches: sampling and judging"),
            ),
        ),
    ),
}


def defined(kind: str, key: str) -> bool:
    """Tell whether a key that a kind of stage writes has a definition."""
    return any(metric.matches(key) for section in METRICS[kind] for metric in section.metrics)
