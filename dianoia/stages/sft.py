"""The `sft` stage: supervised fine-tuning, for the cold start, the second fine-tuning and the students.

In: a start checkpoint and data sets of conversations. Out: a checkpoint, `metrics.jsonl` (a row an optimizer
step, and one before the first for the evaluation loss), and a state from which an interrupted stage goes on
as if it had never stopped: model, optimizer and step. The order of samples derives from (seed, epoch), so
there is no generator state to keep.

Decisions where the paper is silent stand in `config.sft`. Left out: chat templates of tokenizers,
adapters, data sets that do not fit into memory as token ids.
"""

import time
from itertools import accumulate
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from dianoia.base.disk_space import release_space
from dianoia.base.errors import ConfigError
from dianoia.base.files import whole_folder
from dianoia.base.stopping import stop_if_requested
from dianoia.config import SFTStage
from dianoia.datasets.tokenized import Corpus, Encoder, load_corpus
from dianoia.learner.attention.packed_rows import Demonstration
from dianoia.learner.batching.packing import optimizer_steps
from dianoia.learner.logprobs import extend_positions, load_model, load_tokenizer
from dianoia.learner.supervised import SupervisedLearner
from dianoia.sampler.rollouts import named_template, stop_ids
from dianoia.storage.context import Context
from dianoia.storage.journal import Journal, Metrics
from dianoia.storage.run_directory import dataset_path
from dianoia.tasks.table_files import read_rows
from dianoia.text.template_fit import CODE


def run(config: SFTStage, context: Context) -> None:
    """Train to the last step, from the state if there is one, and write the checkpoint."""
    training = _Training(config, context)
    training.resume()
    while training.learner.step < len(training.steps):
        stop_if_requested(training.save if training.learner.step else None)
        training.turn()
    training.finish()


class _Training:
    """The loop and where in it we are."""

    def __init__(self, config: SFTStage, context: Context) -> None:
        self.config, self.context = config, context
        source = context.resolve(config.start)
        model, self.tokenizer = load_model(source, device=context.device), load_tokenizer(source)
        if config.positions is not None:
            extend_positions(model, config.positions)
        self.corpus = self.read(model)
        lengths = [len(sample) for sample in self.corpus.training]
        self.steps = optimizer_steps(
            lengths,
            self.corpus.copies,
            epochs=config.epochs,
            tokens=config.tokens_per_step,
            seed=context.seed,
        )
        # After n steps, at index n.
        self.seen = list(accumulate(map(len, self.steps), initial=0))
        sizes = (sum(lengths[index] for index in step) for step in self.steps)
        self.tokens = list(accumulate(sizes, initial=0))
        self.data = self.corpus.fingerprint()
        self.learner = _learner(model, config, len(self.steps))
        self.announce()

    def read(self, model: PreTrainedModel) -> Corpus:
        """The data sets as tokens."""
        config, directory = self.config, self.context.directory
        end = self.tokenizer.eos_token_id
        encoder = Encoder(
            self.tokenizer,
            named_template(config.template),
            min(stop_ids(model, self.tokenizer)) if end is None else end,
            config.earlier_thoughts == "keep",
            config.max_length,
            config.longer,
        )
        files = [(dataset_path(directory, d.path), d.weight) for d in config.datasets]
        held = config.evaluation_file
        file = None if held is None else dataset_path(directory, held)
        self.check_made([d.path for d in config.datasets] + ([held] if held else []))
        try:
            return load_corpus(encoder, files, config.heldout_share, file)
        except ConfigError as error:
            raise ConfigError(f"stages.{self.context.name}: {error}") from None

    def check_made(self, named: list[str]) -> None:
        """What earlier stages wrote was not there to be checked before the run began."""
        for source in named:
            path = dataset_path(self.context.directory, source)
            if path != Path(source).expanduser() and next(read_rows(path), None) is None:
                raise ConfigError(
                    f"stages.{self.context.name}: the data set {source!r} is empty, because the stage "
                    f"{source!r} kept none of its samples, so there is nothing to learn from; read "
                    f"{path.with_name('rejected.parquet')}, loosen stages.{source}.keep or sample more "
                    "problems, and start a new run (another --out)"
                )

    def announce(self) -> None:
        """Say what the data came to, now that tokens are counted."""
        self.context.progress.set_total(len(self.steps))
        corpus, done = self.corpus, {"drop": "left out", "cut": "cut", "refuse": "refused"}
        self.context.progress.print_line(
            f"{self.context.name}: {corpus.epoch_samples:,} samples an epoch, {len(corpus.heldout):,} held out, "
            f"{corpus.longer:,} longer than max_length = {self.config.max_length:,} {done[self.config.longer]}; "
            f"{self.tokens[-1]:,} tokens in {len(self.steps):,} optimizer steps"
        )
        self.check_template()
        if not self.learner.packs:
            self.context.progress.print_line(
                f"{self.context.name}: this architecture cannot be packed exactly, so every sample is run by "
                "itself; slower, with the same result"
            )

    def check_template(self) -> None:
        """Say, and write down, that the responses are not such as the template asks for."""
        assert self.corpus.fit is not None, "a corpus that was read knows"
        misfit = self.corpus.fit.misfit()
        path = self.context.directory.diagnoses
        path.unlink(missing_ok=True)
        if misfit is not None:
            message, advice = misfit
            self.context.progress.print_line(f"{self.context.name}: {CODE}: {message}. {advice}")
            row: Metrics = {"step": 0, "code": CODE, "message": message, "advice": advice}
            Journal(path).append(row)

    def turn(self) -> None:
        """One optimizer step, its row, and the state when it is due."""
        row = self.update()
        step, every = self.learner.step, self.config.evaluation_every
        if step % every == 0 or step == len(self.steps):
            row |= self.evaluation()
        self.journal.append(row | self.speed())
        self.context.progress.update(step, {"loss": row["loss"], "eval_loss": row.get("eval_loss")})
        if step % self.config.checkpoint_every == 0:
            self.save()

    def update(self) -> dict[str, Any]:
        """Learn the samples of the next step."""
        done = self.learner.update(self.samples(self.learner.step))
        return {
            "step": done.step,
            "epoch": self.seen[done.step] / self.corpus.epoch_samples,
            "tokens": self.tokens[done.step],
            "loss": done.loss,
            "mean_token_accuracy": done.mean_token_accuracy,
            "grad_norm": done.grad_norm,
            "learning_rate": done.learning_rate,
        }

    def samples(self, step: int) -> list[Demonstration]:
        """Those of an optimizer step, counted from 0."""
        return [self.corpus.training[index] for index in self.steps[step]]

    def evaluation(self) -> dict[str, Any]:
        """The loss on what is held out; nothing where nothing is."""
        if not self.corpus.heldout:
            return {}
        loss, accuracy = self.learner.evaluate(self.corpus.heldout)
        return {"eval_loss": loss, "eval_mean_token_accuracy": accuracy}

    def speed(self) -> dict[str, float]:
        """Tokens a second since the stage was started or resumed, evaluations included."""
        seconds = time.perf_counter() - self.started
        return {
            "tokens_per_second": (self.tokens[self.learner.step] - self.tokens_before) / seconds
        }

    # Stopping and going on -----------------------------------------------------------------------

    def resume(self) -> None:
        """Continue from the state; or begin, with the start's own evaluation loss."""
        state = self.learner.load_state(self.context.directory.state)
        if state is not None:
            self.check_same_data(state["data"])
            self.context.progress.print_line(
                f"{self.context.name}: going on after step {self.learner.step}"
            )
        path = self.context.directory.metrics
        self.journal = Journal(path, resume_at=self.learner.step + 1 if state is not None else 0)
        self.started, self.tokens_before = time.perf_counter(), self.tokens[self.learner.step]
        if state is None and self.corpus.heldout:
            self.journal.append({"step": 0, "epoch": 0.0, "tokens": 0} | self.evaluation())

    def check_same_data(self, before: str) -> None:
        """The order of samples is only the same if the samples are."""
        if before != self.data:
            raise ConfigError(
                f"stages.{self.context.name}: the data sets have changed since this stage was interrupted, so "
                "it cannot go on as if it had never stopped; bring the files back, or run it from "
                f"nothing with --only {self.context.name} --force"
            )

    def save(self) -> None:
        """Write the state, whole."""
        self.learner.save_state(self.context.directory.state, {"data": self.data})

    def finish(self) -> None:
        """Write the checkpoint: an ordinary Hugging Face folder."""
        release_space()  # the room of the next state: there is none
        with whole_folder(self.context.directory.checkpoint) as folder:
            self.learner.save(folder)
            self.tokenizer.save_pretrained(folder)


def _learner(model: PreTrainedModel, config: SFTStage, steps: int) -> SupervisedLearner:
    return SupervisedLearner(
        model,
        config.optimizer,
        total_steps=steps,
        tokens_per_row=config.tokens_per_micro_batch,
        autocast=config.autocast,
        recompute=config.recompute,
    )
