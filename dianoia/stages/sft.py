"""The `sft` stage: supervised fine-tuning, for the cold start, the second fine-tuning and the students.

In: a start checkpoint and data sets of conversations. Out: a checkpoint, `metrics.jsonl` (one row per optimizer step, and
one before the first for the evaluation loss), and a state from which an interrupted stage resumes bit for bit: model,
optimizer and step. The order of samples derives from (seed, epoch), so there is no generator state to keep.

Decisions where the paper is silent stand in `config.sft`. Left out: data sets that do not fit into memory as token ids.
"""

import time
from itertools import accumulate
from pathlib import Path
from typing import Any

from dianoia.base.errors import ConfigError
from dianoia.config.sft import SFTStage
from dianoia.datasets.tokenized import Corpus, Encoder, load_corpus
from dianoia.distributed.group import ranks
from dianoia.learner.attention.packed_rows import Demonstration
from dianoia.learner.batching.packing import optimizer_steps
from dianoia.learner.supervised import SupervisedLearner, SupervisedMetrics
from dianoia.models.loading import extend_positions
from dianoia.stages._shared import Training
from dianoia.stages.context import StageContext
from dianoia.storage.journal import Journal, Metrics
from dianoia.storage.run_directory import dataset_path
from dianoia.tasks.table_files import read_rows
from dianoia.text.template_fit import CODE


def run(config: SFTStage, context: StageContext) -> None:
    """Train to the last step, from the state if there is one, and write the checkpoint."""
    training = FineTuning(config, context)
    training.resume()
    while training.step < len(training.steps):
        training.stop_if_requested(len(training.steps))
        training.take_step()
    training.finish()


class FineTuning(Training):
    """One model, its data, and how far the stage has come."""

    learner: SupervisedLearner

    def __init__(self, config: SFTStage, context: StageContext) -> None:
        self.config, self.context = config, context
        self.template = context.template(config.template)
        self.start = context.language_model(config.start, config.lora)
        if config.positions is not None:
            extend_positions(self.start.model, config.positions)
        self.corpus = self.read()
        # Which samples each optimizer step learns is known before the first one.
        lengths = [len(sample) for sample in self.corpus.training]
        self.steps = optimizer_steps(
            lengths,
            self.corpus.copies,
            epochs=config.epochs,
            tokens=config.tokens_per_step,
            seed=context.seed,
        )
        # Samples and tokens after n steps, at index n.
        self.samples_done = list(accumulate(map(len, self.steps), initial=0))
        sizes = (sum(lengths[index] for index in step) for step in self.steps)
        self.tokens = list(accumulate(sizes, initial=0))
        self.data = self.corpus.fingerprint()  # a state is only of use with the same data
        # Behind the data: the learning rate's schedule asks how many steps there will be.
        self.learner = context.supervised_learner(self.start, config, self.steps)
        self.announce()

    def read(self) -> Corpus:
        """Read the data sets as tokens. Raises ConfigError for data that cannot be learnt from."""
        config, directory = self.config, self.context.directory
        encoder = Encoder(
            self.start.prompts(self.template),
            config.earlier_thoughts == "keep",
            config.max_length,
            config.longer,
        )
        files = [(dataset_path(directory, d.path), d.weight) for d in config.datasets]
        evaluation_file = config.evaluation_file
        file = None if evaluation_file is None else dataset_path(directory, evaluation_file)
        sources = [d.path for d in config.datasets]
        self.check_not_empty([*sources, evaluation_file] if evaluation_file else sources)
        try:
            return load_corpus(encoder, files, config.heldout_share, file)
        except ConfigError as error:
            raise ConfigError(f"stages.{self.context.name}: {error}") from None

    def check_not_empty(self, sources: list[str]) -> None:
        """Raise ConfigError for an empty data set of an earlier stage: it did not exist when the recipe was checked."""
        for source in sources:
            path = dataset_path(self.context.directory, source)
            # A file that is named by its path was checked with the recipe.
            if path != Path(source).expanduser() and next(read_rows(path), None) is None:
                raise ConfigError(
                    f"stages.{self.context.name}: the data set {source!r} is empty, because the stage "
                    f"{source!r} kept none of its samples, so there is nothing to learn from; read "
                    f"{path.with_name('rejected.parquet')}, loosen stages.{source}.keep or sample more "
                    "problems, and start a new run (another --out)"
                )

    def announce(self) -> None:
        """Print the size of the data, now that tokens are counted."""
        self.context.progress.set_total(len(self.steps))
        corpus, verbs = self.corpus, {"drop": "left out", "cut": "cut", "refuse": "refused"}
        self.context.print_line(
            f"{corpus.epoch_samples:,} samples per epoch, {len(corpus.heldout):,} held out, "
            f"{corpus.longer:,} longer than max_length = {self.config.max_length:,} {verbs[self.config.longer]}; "
            f"{self.tokens[-1]:,} tokens in {len(self.steps):,} optimizer steps"
        )
        self.check_template()
        if not self.learner.packs:
            self.context.print_line(
                "this architecture cannot be packed exactly, so every sample runs by itself; slower, "
                "with the same result"
            )

    def check_template(self) -> None:
        """Print and write a diagnosis if the responses do not have the form that the template asks for."""
        assert self.corpus.fit is not None, "set when the corpus is read"
        misfit = self.corpus.fit.misfit()
        path = self.context.directory.diagnoses
        if not self.context.writes:
            return
        path.unlink(missing_ok=True)  # of an earlier, interrupted command
        if misfit is not None:
            message, advice = misfit
            self.context.print_line(f"{CODE}: {message}. {advice}")
            row: Metrics = {"step": 0, "code": CODE, "message": message, "advice": advice}
            Journal(path).append(row)

    def take_step(self) -> None:
        """Take one optimizer step, write its row, and save the state when it is due."""
        ranks().begin("update", self.step)
        row = self.row(self.learner.update(self.samples(self.step)))
        step, interval = self.step, self.config.evaluation_every
        # The evaluation is in the row of the step that it follows.
        if step % interval == 0 or step == len(self.steps):
            row |= self.evaluate()
        self.journal.append(row | self.speed())
        self.context.progress.update(step, {"loss": row["loss"], "eval_loss": row.get("eval_loss")})
        if step % self.config.checkpoint_every == 0:
            self.save()

    def row(self, metrics: SupervisedMetrics) -> dict[str, Any]:
        """Return a row of `metrics.jsonl`."""
        return {
            "step": metrics.step,
            "epoch": self.samples_done[metrics.step] / self.corpus.epoch_samples,
            "tokens": self.tokens[metrics.step],
            "loss": metrics.loss,
            "mean_token_accuracy": metrics.mean_token_accuracy,
            "grad_norm": metrics.grad_norm,
            "learning_rate": metrics.learning_rate,
        }

    def samples(self, step: int) -> list[Demonstration]:
        """Return the samples of an optimizer step, counted from 0."""
        return [self.corpus.training[index] for index in self.steps[step]]

    def evaluate(self) -> dict[str, Any]:
        """Return loss and accuracy on the held-out samples; empty where there are none."""
        if not self.corpus.heldout:
            return {}
        loss, accuracy = self.learner.evaluate(self.corpus.heldout)
        return {"eval_loss": loss, "eval_mean_token_accuracy": accuracy}

    def speed(self) -> dict[str, float]:
        """Return tokens per second since the stage was started or resumed, evaluations included."""
        seconds = time.perf_counter() - self.started
        return {"tokens_per_second": (self.tokens[self.step] - self.tokens_before) / seconds}

    # State and checkpoint ------------------------------------------------------------------------

    def resume(self) -> None:
        """Resume from the state; or begin, with the evaluation loss of the start model."""
        progress = self.load_state()
        if progress is not None:
            self.check_same_data(progress["data"])
        # Rows of steps after the state are dropped: they will be written again.
        path = self.context.directory.metrics
        # Without a state all rows go, that of step 0 too, which is written anew below.
        self.journal = self.context.journal(
            path, resume_at=self.step + 1 if progress is not None else 0
        )
        self.started, self.tokens_before = time.perf_counter(), self.tokens[self.step]
        if progress is None and self.corpus.heldout:
            self.journal.append({"step": 0, "epoch": 0.0, "tokens": 0} | self.evaluate())

    def check_same_data(self, before: str) -> None:
        """Raise ConfigError if the data has changed since the state was written: the order of samples would differ."""
        if before != self.data:
            raise ConfigError(
                f"stages.{self.context.name}: the data sets have changed since this stage was interrupted, so "
                "it cannot resume exactly; bring the files back, or run it from "
                f"scratch with --only {self.context.name} --force"
            )

    def progress(self) -> dict[str, Any]:
        """Return the fingerprint of the data."""
        return {"data": self.data}

    def write_checkpoint(self, folder: Path) -> None:
        """Write model and tokenizer, asked as in training."""
        keep = self.config.earlier_thoughts == "keep"
        usage = self.context.usage(self.start, self.template, keep)
        self.learner.save(folder, self.start.tokenizer, usage)
