"""The `reward_model` stage: a helpful or a safety model (DeepSeek-R1 section 3.1 and B.2).

In: a start checkpoint, pairs (`objective = "pairwise"`) or labelled responses (`pointwise`) from files or stages. Out: a
checkpoint (an ordinary sequence classification folder), `metrics.jsonl` (one row per optimizer step) and `evaluation.json`
(held-out accuracy with its interval, and counts of the rows by why they were left out). An interrupted stage resumes bit
for bit: orders derive from the seed and the epoch, so there is no generator state.

Decisions where the paper is silent stand in `datasets.pairs`, `text.visible` and `algo.preference_loss`. Left out: making
the data, which a `preferences` stage does.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import chain, islice
from pathlib import Path
from statistics import fmean
from typing import Any

from transformers import PreTrainedModel

from dianoia.algo.estimates import Estimate
from dianoia.base.files import write_json
from dianoia.base.preference_records import Pair, TextExample
from dianoia.base.records import Turn
from dianoia.config.reward_model import RewardModelStage
from dianoia.datasets.pairs import LeftOut
from dianoia.datasets.preference_data import Preferences, balance_and_check, preferences, texts_of
from dianoia.distributed.group import ranks
from dianoia.judge.reward_model_scores import encode
from dianoia.learner.attention.shared_prefixes import Ids
from dianoia.learner.reward_learner import Example, RewardModelLearner, RewardModelMetrics
from dianoia.learner.reward_model_folder import Outlook, save_reward_model
from dianoia.metrics.reward_model_metrics import grades, measures, spread
from dianoia.stages._shared import Training
from dianoia.stages.context import StageContext
from dianoia.storage.run_directory import dataset_path


def run(config: RewardModelStage, context: StageContext) -> None:
    """Train to the last step, from the state if there is one; measure; write the checkpoint."""
    training = RewardModelTraining(config, context)
    training.run()
    training.evaluate()
    training.finish()


class RewardModelTraining(Training):
    """One reward model, its data, and how far the stage has come."""

    learner: RewardModelLearner

    def __init__(self, config: RewardModelStage, context: StageContext) -> None:
        self.config, self.context = config, context
        self.template = context.template(config.template)
        self.start = context.reward_model(config.start)
        self.max_length = _max_length(self.start.model, config.max_length)
        self.ids_of: dict[tuple[tuple[Turn, ...], str], Ids] = {}
        """Token ids of each prompt and text that has been encoded."""
        self.data = self.read()
        # Encoded once more, since `read` has dropped rows.
        self.train, self.heldout = self.encoded(self.data.train), self.encoded(self.data.heldout)
        # Only now: rows that are too long, or that balancing leaves out, are not learnt from.
        steps = config.steps(len(self.train))
        context.progress.set_total(steps)
        self.learner = context.reward_model_learner(self.start, config, steps)
        self.tokens = 0

    # Data ----------------------------------------------------------------------------------------

    def read(self) -> Preferences:
        """Return the rows that are not too long, with lengths balanced as the recipe says."""
        directory = self.context.directory
        files = [dataset_path(directory, source) for source in self.config.data]
        data = preferences(self.config, files, self.template)
        # Lengths are of token ids, prompts included, so texts are encoded before they are chosen.
        train, heldout = (
            [
                example
                for example, ids in zip(side, self.encoded(side), strict=True)
                if ids.longest <= self.max_length
            ]
            for side in (data.train, data.heldout)
        )
        # Rows that are too long are counted with the other reasons.
        too_long = len(data.train) + len(data.heldout) - len(train) - len(heldout)
        left_out = data.left_out + Counter({LeftOut.TOO_LONG.value: too_long})
        fitting = replace(data, train=train, heldout=heldout, left_out=left_out)
        return balance_and_check(self.config, fitting, self.context.name, self.context.seed)

    def encoded(self, examples: Sequence[TextExample]) -> list[Example]:
        """Return the token ids of every text, prompts included."""
        # A response is in several pairs, and rows are encoded before and after some are left out.
        texts = [[(tuple(e.messages), text) for text in texts_of(e)] for e in examples]
        new = list({text: None for pair in texts for text in pair if text not in self.ids_of})
        prompts, parts = [prompt for prompt, _ in new], [part for _, part in new]
        ids = encode(self.start.tokenizer, self.template, prompts, parts)
        self.ids_of.update(zip(new, ids, strict=True))
        return [
            Example(
                tuple(self.ids_of[text] for text in pair),
                None if isinstance(example, Pair) else example.good,
            )
            for pair, example in zip(texts, examples, strict=True)
        ]

    def batches(self) -> Iterator[tuple[int, list[Example]]]:
        """Yield (epoch, examples) of every optimizer step, in one order per seed."""
        size = self.config.samples_per_step
        prompts = [example.messages for example in self.data.train]
        # The last step of an epoch may be smaller; epochs are not joined.
        for epoch in range(self.config.epochs):
            # A text as seed is hashed by SHA-512, so the order is the same in every process.
            rng = random.Random(f"order-{self.context.seed}-{epoch}")
            if self.config.objective == "pairwise":
                order = order_by_prompt(prompts, rng)
            else:
                order = list(range(len(prompts)))
                rng.shuffle(order)
            for start in range(0, len(order), size):
                yield epoch, [self.train[index] for index in order[start : start + size]]

    # Training ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Take every step from where the state left off."""
        if (progress := self.load_state()) is not None:
            self.tokens = progress["tokens"]
        journal = self.context.journal(self.context.directory.metrics, resume_at=self.step + 1)
        for epoch, examples in islice(self.batches(), self.step, None):
            self.stop_if_requested(self.config.steps(len(self.train)))
            ranks().begin("update", self.step)
            start = time.perf_counter()
            metrics = self.learner.update(examples)
            self.tokens += metrics.tokens
            timing = {"step_seconds": time.perf_counter() - start}
            row = self.row(epoch, examples, metrics) | timing
            journal.append(row)
            self.context.progress.update(self.step, {k: row[k] for k in ("loss", "accuracy")})
            if self.step % self.config.checkpoint_every == 0:
                self.save()

    def row(
        self, epoch: int, examples: Sequence[Example], metrics: RewardModelMetrics
    ) -> dict[str, float | None]:
        """Return a row of `metrics.jsonl`; rewards are those before the step."""
        return {
            "step": metrics.step,
            "epoch": epoch,
            "num_tokens": self.tokens,
            "loss": metrics.loss,
            "grad_norm": metrics.grad_norm,
            "learning_rate": metrics.learning_rate,
            "accuracy": fmean(grades(examples, metrics.rewards)),
            **spread(examples, metrics.rewards),
        }

    # Measuring -----------------------------------------------------------------------------------

    def evaluate(self) -> None:
        """Write `evaluation.json`: estimates on held-out examples, and counts of the rows."""
        ranks().begin("evaluate")
        texts = [ids for example in self.heldout for ids in example.texts]
        # Rewards come in the order of the texts, however they were batched.
        flat = iter(self.learner.rewards(texts))
        rewards = [tuple(islice(flat, len(example.texts))) for example in self.heldout]
        estimates = measures(self.data.heldout, self.heldout, rewards)
        self.context.print_line(
            f"held-out accuracy {_format(estimates['accuracy'])}, "
            f"baseline {_format(estimates['baseline'])}"
        )
        if not self.context.writes:
            return
        write_json(
            self.context.directory.evaluation,
            {
                "reward_model": {name: asdict(value) for name, value in estimates.items()},
                "data": {
                    "rows": self.data.rows,
                    "train": len(self.train),
                    "heldout": len(self.heldout),
                    "left_out": dict(sorted(self.data.left_out.items())),
                },
            },
        )

    # State and checkpoint ------------------------------------------------------------------------

    def progress(self) -> dict[str, Any]:
        """Return the tokens learnt from so far."""
        return {"tokens": self.tokens}

    def write_checkpoint(self, folder: Path) -> None:
        """Write model, tokenizer, and what the model scores."""
        outlook = Outlook(self.template, self.config.scored_part)
        tokenizer = self.start.tokenizer
        self.learner.write(
            folder, lambda model: save_reward_model(folder, model, tokenizer, outlook)
        )


def order_by_prompt(prompts: Sequence[Sequence[Turn]], rng: random.Random) -> list[int]:
    """Return the indices of pairs, given the prompt of each, with the prompts in random order and pairs of one together.

    All comparisons of a prompt belong in one step (InstructGPT, https://arxiv.org/abs/2203.02155, section 3.5): apart
    they overfit, and together the prompt, and a response of several pairs, runs once.
    """
    indices_of: dict[tuple[Turn, ...], list[int]] = {}
    for index, prompt in enumerate(prompts):
        indices_of.setdefault(tuple(prompt), []).append(index)
    groups = list(indices_of.values())
    rng.shuffle(groups)
    return list(chain.from_iterable(groups))


def _max_length(model: PreTrainedModel, max_length: int) -> int:
    """Return the most tokens of a text: `max_length`, never more than the model has positions."""
    positions: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return min(max_length, positions or max_length)


def _format(value: Estimate) -> str:
    return f"{value.value:.1%} [{value.low:.1%}, {value.high:.1%}]"
