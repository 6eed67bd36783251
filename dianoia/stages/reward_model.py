"""The `reward_model` stage: a helpful or a safety model (DeepSeek-R1 section 3.1 and B.2).

In: a start checkpoint, pairs (`objective = "pairwise"`) or labelled responses (`pointwise`) from files or stages. Out:
a checkpoint (an ordinary sequence classification folder), `metrics.jsonl` (a row an optimizer step) and
`evaluation.json` (held-out accuracy with its interval, and what became of every row). An interrupted stage
goes on as if it had never stopped: orders derive from the seed and the epoch, so there is no generator state.

Decisions where the paper is silent stand in `datasets.pairs`, `text.visible` and `algo.preference_loss`. Left out:
making the data, which a `preferences` stage does.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice
from statistics import fmean

from transformers import PreTrainedModel

from dianoia.algo.estimates import Estimate
from dianoia.base.disk_space import release_space
from dianoia.base.files import whole_folder, write_json
from dianoia.base.preference_records import Pair, TextExample
from dianoia.base.stopping import stop_if_requested
from dianoia.config import RewardModelStage
from dianoia.datasets.pairs import LeftOut
from dianoia.datasets.preference_data import Preferences, balance_and_check, preferences, texts_of
from dianoia.judge.reward_model_scores import encode
from dianoia.learner.logprobs import load_tokenizer
from dianoia.learner.reward_model import Example, RewardModelLearner, RewardModelMetrics
from dianoia.learner.reward_model_folder import (
    Outlook,
    prepare_padding,
    save_reward_model,
    start_reward_model,
)
from dianoia.metrics.reward_model_metrics import grades, measures, spread
from dianoia.storage.context import Context
from dianoia.storage.journal import Journal
from dianoia.storage.run_directory import dataset_path
from dianoia.text.template import TEMPLATES


def run(config: RewardModelStage, context: Context) -> None:
    """Train to the last step, from the state if there is one; measure; write the checkpoint."""
    training = _Training(config, context)
    training.run()
    training.evaluate()
    training.finish()


class _Training:
    """One reward model, its data, and where in the run it is."""

    def __init__(self, config: RewardModelStage, context: Context) -> None:
        self.config, self.context = config, context
        source = context.resolve(config.start)
        model = start_reward_model(source, context.seed, context.device)
        self.tokenizer = load_tokenizer(source)
        prepare_padding(model, self.tokenizer)
        self.limit = _limit(model, config.max_length)
        self.data = self.usable()
        self.train, self.heldout = self.encoded(self.data.train), self.encoded(self.data.heldout)
        steps = config.steps(len(self.train))
        context.progress.set_total(steps)
        self.learner = _learner(model, config, steps)
        self.tokens = 0

    # Data ----------------------------------------------------------------------------------------

    def usable(self) -> Preferences:
        """The rows that are neither too long nor in the way of balanced lengths."""
        directory = self.context.directory
        found = preferences(
            self.config, [dataset_path(directory, source) for source in self.config.data]
        )
        train, heldout = (
            [
                example
                for example, ids in zip(side, self.encoded(side), strict=True)
                if ids.longest <= self.limit
            ]
            for side in (found.train, found.heldout)
        )
        gone = len(found.train) + len(found.heldout) - len(train) - len(heldout)
        left_out = found.left_out + Counter({LeftOut.TOO_LONG.value: gone})
        kept = replace(found, train=train, heldout=heldout, left_out=left_out)
        return balance_and_check(self.config, kept, self.context.name, self.context.seed)

    def encoded(self, examples: Sequence[TextExample]) -> list[Example]:
        """Token ids of every text, prompts included."""
        texts = [(example.prompt, text) for example in examples for text in texts_of(example)]
        template = TEMPLATES[self.config.template]
        ids = iter(encode(self.tokenizer, template, [p for p, _ in texts], [t for _, t in texts]))
        return [
            Example(
                tuple(islice(ids, len(texts_of(example)))),
                None if isinstance(example, Pair) else example.good,
            )
            for example in examples
        ]

    def batches(self) -> Iterator[tuple[int, list[Example]]]:
        """(epoch, examples) of every optimizer step, in one order a seed."""
        size = self.config.samples_per_step
        for epoch in range(self.config.epochs):
            order = list(range(len(self.train)))
            random.Random(f"order-{self.context.seed}-{epoch}").shuffle(order)
            for start in range(0, len(order), size):
                yield epoch, [self.train[index] for index in order[start : start + size]]

    # Training ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Every step from where the state left off."""
        self.resume()
        journal = Journal(self.context.directory.metrics, resume_at=self.learner.step + 1)
        for epoch, examples in islice(self.batches(), self.learner.step, None):
            stop_if_requested(self.save if self.learner.step else None)
            start = time.perf_counter()
            done = self.learner.update(examples)
            self.tokens += done.tokens
            spent = {"step_seconds": time.perf_counter() - start}
            row = self.row(epoch, examples, done) | spent
            journal.append(row)
            self.context.progress.update(done.step, {k: row[k] for k in ("loss", "accuracy")})
            if done.step % self.config.checkpoint_every == 0:
                self.save()

    def row(
        self, epoch: int, examples: Sequence[Example], done: RewardModelMetrics
    ) -> dict[str, float | None]:
        """A row of `metrics.jsonl`; rewards are those before the step."""
        return {
            "step": done.step,
            "epoch": epoch,
            "num_tokens": self.tokens,
            "loss": done.loss,
            "grad_norm": done.grad_norm,
            "learning_rate": done.learning_rate,
            "accuracy": fmean(grades(examples, done.rewards)),
            **spread(examples, done.rewards),
        }

    # Measuring -----------------------------------------------------------------------------------

    def evaluate(self) -> None:
        """Write `evaluation.json`: estimates on the held-out side, and the rows by what became of them."""
        texts = [ids for example in self.heldout for ids in example.texts]
        flat = iter(self.learner.rewards(texts))
        rewards = [tuple(islice(flat, len(example.texts))) for example in self.heldout]
        found = measures(self.data.heldout, self.heldout, rewards)
        self.context.progress.print_line(
            f"{self.context.name}: held-out accuracy {_told(found['accuracy'])}, "
            f"baseline {_told(found['baseline'])}"
        )
        write_json(
            self.context.directory.evaluation,
            {
                "reward_model": {name: asdict(value) for name, value in found.items()},
                "data": {
                    "rows": self.data.rows,
                    "train": len(self.train),
                    "heldout": len(self.heldout),
                    "left_out": dict(sorted(self.data.left_out.items())),
                },
            },
        )

    # Stopping and going on -----------------------------------------------------------------------

    def resume(self) -> None:
        """Continue from the state if there is one."""
        state = self.learner.load_state(self.context.directory.state)
        if state is not None:
            self.tokens = state["tokens"]
            step = self.learner.step
            self.context.progress.print_line(f"{self.context.name}: going on after step {step}")

    def save(self) -> None:
        """Write the state, whole."""
        self.learner.save_state(self.context.directory.state, {"tokens": self.tokens})

    def finish(self) -> None:
        """Write the checkpoint: an ordinary Hugging Face folder."""
        outlook = Outlook(self.config.template, self.config.scored_part)
        release_space()  # the room of the next state: there is none
        with whole_folder(self.context.directory.checkpoint) as folder:
            save_reward_model(folder, self.learner.model, self.tokenizer, outlook)


def _limit(model: PreTrainedModel, wanted: int) -> int:
    """Most tokens of a text: never more than the model has positions."""
    positions: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return min(wanted, positions or wanted)


def _learner(model: PreTrainedModel, config: RewardModelStage, steps: int) -> RewardModelLearner:
    return RewardModelLearner(
        model,
        config.optimizer,
        total_steps=steps,
        tokens_per_micro_batch=config.tokens_per_micro_batch,
        autocast=config.autocast,
        recompute=config.recompute,
    )


def _told(value: Estimate) -> str:
    return f"{value.value:.1%} [{value.low:.1%}, {value.high:.1%}]"
