"""The `pretrain` stage: a tokenizer and a base model from nothing but generated documents.

In: a corpus generator, the authors' habits, a model's shape. Out: a checkpoint (a Qwen3 causal LM as a Hugging Face folder)
and `metrics.jsonl`. Documents are drawn as they are needed and none is read twice; each is a row of its own, so that
nothing attends across documents, and rows of nearly one length share a batch. Every token is learnt, the questions' too, as
in any pretraining. Left out: packing, and everything that only matters above a few million parameters.
"""

import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from dianoia.config.pretrain import PretrainStage
from dianoia.distributed.group import ranks
from dianoia.learner.checkpoint_folder import Usage
from dianoia.learner.trainer import Learner, Trainer
from dianoia.models.loading import load_tokenizer
from dianoia.stages._shared import Training
from dianoia.stages.context import StageContext
from dianoia.tasks.plugins import CORPORA
from dianoia.text.template import TEMPLATES

_POOL = 2048
"""Documents that are sorted into batches together."""
_TOKENIZER_DOCUMENTS = 8000
"""Documents that the tokenizer is trained on."""
_SAVE_EVERY = 500
"""Optimizer steps between two states."""
_LOG_EVERY = 20
"""Optimizer steps between two rows of metrics."""
_IGNORED = -100
"""Target of padding, which `cross_entropy` leaves out."""


def run(config: PretrainStage, context: StageContext) -> None:
    """Train on `config.tokens` tokens, from the state if there is one, and write the checkpoint."""
    torch.manual_seed(context.seed)  # of the model's initial weights
    tokenizer = _tokenizer(config, context)
    model = Qwen3ForCausalLM(_shape(config, tokenizer))
    # Ranks that hold the model together split what rank 0 has.
    device = context.device if context.sharding is None else "cpu"
    nn.Module.to(model, device)  # through nn.Module, whose `to` is typed
    training = Pretraining(config, context, tokenizer, model)
    training.run()
    training.finish()


def _tokenizer(config: PretrainStage, context: StageContext) -> PreTrainedTokenizerBase:
    """Load the tokenizer that the recipe names, or train one on the corpus."""
    if config.tokenizer is not None:
        return load_tokenizer(context.resolve(config.tokenizer))
    # The tokenizer has a seed of its own: it must not depend on where pretraining reads.
    corpus = CORPORA[config.corpus]
    documents = corpus.documents(config.habits, context.seed + 1_000_000)
    texts = islice(documents, _TOKENIZER_DOCUMENTS)
    trained = corpus.train_tokenizer(texts, config.vocabulary)
    limit = config.model.max_positions
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=trained,
        eos_token=corpus.end_of_text,
        pad_token=corpus.end_of_text,
        model_max_length=limit,
    )


def _shape(config: PretrainStage, tokenizer: PreTrainedTokenizerBase) -> Qwen3Config:
    """Return the configuration of the model."""
    shape, end = config.model, tokenizer.eos_token_id
    return Qwen3Config(
        vocab_size=-(-len(tokenizer) // 8) * 8,  # a multiple of 8 multiplies faster
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.intermediate_size,
        max_position_embeddings=shape.max_positions,
        # Embeddings are a large share of so small a model; tied, they are there once.
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end,
    )


class Pretraining(Training):
    """One model, its corpus, and how far the stage has come."""

    def __init__(
        self,
        config: PretrainStage,
        context: StageContext,
        tokenizer: PreTrainedTokenizerBase,
        model: Qwen3ForCausalLM,
    ) -> None:
        self.config, self.context, self.tokenizer = config, context, tokenizer
        # PyTorch's own layers; each replica passes a part of a step's rows.
        self.trainer: Trainer[PreTrainedModel] = Trainer(
            model,
            config.optimizer,
            config.tokens // config.tokens_per_step,
            prepare=False,
            sharding=context.sharding,
            title=f"{context.name}: pretraining",
        )
        self.learner = Learner(self.trainer)
        self.tokens = 0

    def run(self) -> None:
        """Take every step from where the state left off."""
        if (progress := self.load_state()) is not None:
            self.tokens = progress["tokens"]
        journal = self.context.journal(self.context.directory.metrics, resume_at=self.step + 1)
        self.started, self.tokens_before = time.perf_counter(), self.tokens
        # The stream is replayed up to the state: documents are drawn in one order per seed.
        for ids_BL, mask_BL in islice(self.batches(), self.step, None):
            row = self.update(ids_BL, mask_BL)
            if self.step % _LOG_EVERY == 0 or self.tokens >= self.config.tokens:
                journal.append(row | self.speed())
                # The last batch may go beyond the total.
                tokens = min(self.tokens, self.config.tokens)
                self.context.progress.update(tokens, {"loss": row["loss"]})
            if self.tokens >= self.config.tokens:
                break
            # After the row is written, so that a resumed stage continues with the next one.
            point = f"after {self.tokens:,} of {self.config.tokens:,} tokens"
            self.stop_together(self.save, point)
            if self.step % _SAVE_EVERY == 0:
                self.save()

    def update(self, ids_BL: Tensor, mask_BL: Tensor) -> dict[str, Any]:
        """Take one optimizer step on the next-token loss of every token of a batch."""
        ranks().begin("update", self.step)
        loss = self.accumulate(ids_BL, mask_BL)
        # The norm goes over parameters in the model's order: the optimizer's order would round differently, and the
        # shipped bases were trained with this one.
        norm = self.trainer.replicas.gradient_norm(list(self.trainer.model.parameters()))
        # By tokens, not steps: the number of steps is not known before the documents are.
        schedule_step = self.tokens // self.config.tokens_per_step
        _, rate = self.trainer.take_step(loss, norm, schedule_step=schedule_step)
        self.tokens += int(mask_BL.sum())
        return {
            "step": self.step,
            "tokens": self.tokens,
            "loss": loss,
            "grad_norm": norm,
            "learning_rate": rate,
        }

    def accumulate(self, ids_BL: Tensor, mask_BL: Tensor) -> float:
        """Leave the gradient of a batch in the model's `.grad`, and return its mean loss in nats."""
        # Rows have nearly one length, so that equally many are an even share for each replica.
        parts = min(self.trainer.replicas.count, len(ids_BL))
        micro_batches = list(
            zip(ids_BL.tensor_split(parts), mask_BL.tensor_split(parts), strict=True)
        )
        targets = int(mask_BL[:, 1:].sum())
        loss_of = partial(_next_token_loss, targets)
        reports = self.trainer.replicas.accumulate(loss_of, micro_batches)
        return sum(float(loss) for report in reports for loss in report)

    def speed(self) -> dict[str, float]:
        """Return tokens per second since the stage was started or resumed."""
        seconds = time.perf_counter() - self.started
        return {"tokens_per_second": (self.tokens - self.tokens_before) / seconds}

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield padded rows `_BL` and the mask of their real tokens, without end, in one order per seed."""
        end, size = self.tokenizer.eos_token_id, self.config.tokens_per_step
        # No document is read twice: the generator has no end.
        source = CORPORA[self.config.corpus].documents(self.config.habits, self.context.seed)
        generator = torch.Generator().manual_seed(self.context.seed)
        while True:
            texts = list(islice(source, _POOL))
            # The end token is appended below, so that it is there once whatever the tokenizer adds.
            encoded = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
            rows = sorted((torch.tensor([*ids, end]) for ids in encoded), key=len)
            # Sorted by length, so that batches have little padding; then in random order.
            batches = _cut(rows, size)
            for index in torch.randperm(len(batches), generator=generator).tolist():
                yield _padded(batches[index], end, self.context.device)

    def progress(self) -> dict[str, Any]:
        """Return the tokens read so far."""
        return {"tokens": self.tokens}

    def write_checkpoint(self, folder: Path) -> None:
        """Write model and tokenizer. No template was trained: those who ask the model get that of R1-Zero."""
        ends = {self.tokenizer.eos_token_id}
        usage = Usage(TEMPLATES["r1-zero"], ends, self.context.draw, is_trained=False)
        self.learner.save(folder, self.tokenizer, usage)


def _next_token_loss(
    targets: int, model: PreTrainedModel, micro_batch: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the loss of every token but each row's first, divided by the `targets` of the step, with and without gradient."""
    ids_BL, mask_BL = micro_batch
    # Position t predicts token t + 1; padding is no target.
    targets_BT = ids_BL[:, 1:].masked_fill(~mask_BL[:, 1:], _IGNORED)
    # No attention mask: padding is on the right, where causal attention of a real token does not reach.
    logits_BTV = model(input_ids=ids_BL[:, :-1], use_cache=False).logits
    total = torch.nn.functional.cross_entropy(
        logits_BTV.flatten(0, 1), targets_BT.flatten(), ignore_index=_IGNORED, reduction="sum"
    )
    loss = total / targets
    return loss, loss.detach()


def _cut(rows: list[Tensor], size: int) -> list[list[Tensor]]:
    """Cut rows, sorted by length, into batches of at most `size` padded tokens."""
    batches: list[list[Tensor]] = [[]]
    for row in rows:
        # The row is the longest so far, so every row of the batch is padded to it.
        if batches[-1] and len(row) * (len(batches[-1]) + 1) > size:
            batches.append([])
        batches[-1].append(row)
    return batches


def _padded(rows: list[Tensor], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return rows padded on the right, and the mask of their real tokens; both `_BL`."""
    ids_BL = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
    lengths_B = torch.tensor([len(row) for row in rows])
    mask_BL = torch.arange(ids_BL.shape[1])[None] < lengths_B[:, None]
    return ids_BL.to(device), mask_BL.to(device)
