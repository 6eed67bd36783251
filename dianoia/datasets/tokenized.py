"""Tokenize conversations, with a loss mask, into a whole data set.

In: a recipe's `sft` table, files, prompts. Out: `Corpus`: the training samples of an epoch, and the held-out ones.
Token ids are kept in memory, four bytes per token and one for the mask. Not here: reading token ids from disk.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import torch

from dianoia.base.errors import ConfigError
from dianoia.base.records import Conversation
from dianoia.learner.attention.packed_rows import Demonstration
from dianoia.tasks.conversation_files import Drawn, check_amounts, draw
from dianoia.text.dialogue import Part
from dianoia.text.prompts import Prompts, TokenPiece
from dianoia.text.template_fit import TemplateFit

_BATCH = 512
"""Conversations that are tokenized together."""


@dataclass(slots=True)
class Corpus:
    """The training and held-out samples of a supervised stage."""

    training: list[Demonstration] = field(default_factory=list)
    copies: list[int] = field(default_factory=list)
    """Repetitions per epoch, one number per training sample."""
    heldout: list[Demonstration] = field(default_factory=list)
    fit: TemplateFit | None = None
    """How well the responses of the training side fit the template."""
    longer: int = 0
    """Samples that were longer than the limit, whether dropped or cut."""

    @property
    def epoch_samples(self) -> int:
        """Samples per epoch, copies counted."""
        return sum(self.copies)

    def fingerprint(self) -> str:
        """Return a hash of every token, mask and copy, in order."""
        # Copies too: with others, the same samples make another epoch.
        digest = hashlib.sha256(repr(self.copies).encode())
        for sample in (*self.training, *self.heldout):
            # Ids and mask as bytes: two corpora are equal if their fingerprints are.
            digest.update(sample.ids_L.numpy().tobytes() + sample.learnt_L.numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Encoder:
    """Turns conversations into samples of at most `max_length` tokens."""

    prompts: Prompts
    keep_thoughts: bool
    max_length: int
    longer: Literal["drop", "cut", "refuse"]

    def __call__(self, conversations: Sequence[Conversation]) -> list[list[Demonstration]]:
        """Tokenize the samples of each conversation, uncut; a conversation whose earlier thoughts are stripped has several."""
        samples_by_conversation = self.prompts.samples(conversations, self.keep_thoughts)
        return [
            [_demonstration(pieces) for pieces in samples] for samples in samples_by_conversation
        ]

    def fit(self, sample: Demonstration, source: str) -> Demonstration | None:
        """Return the sample within the length limit, cut if asked for; None to drop it. Raises ConfigError to refuse it."""
        if len(sample) <= self.max_length:
            return sample
        if self.longer == "refuse":
            raise ConfigError(
                f"{source}: the sample has {len(sample)} tokens, above max_length = {self.max_length}, and "
                'longer = "refuse"; raise max_length, shorten the sample, or choose longer = "drop" or "cut"'
            )
        # A cut sample is useful only if some of its response is left.
        cut = Demonstration(sample.ids_L[: self.max_length], sample.learnt_L[: self.max_length])
        return cut if self.longer == "cut" and bool(cut.learnt_L.any()) else None


def _demonstration(pieces: Sequence[TokenPiece]) -> Demonstration:
    """Concatenate the ids of a sample's pieces; responses are in the loss, with the end token that follows them."""
    ids = [token for piece in pieces for token in piece.ids]
    learnt = [piece.part is Part.RESPONSE for piece in pieces for _ in piece.ids]
    # int32 and bool, since a corpus stays in memory as a whole; they are widened in a batch.
    return Demonstration(torch.tensor(ids, dtype=torch.int32), torch.tensor(learnt))


def load_corpus(
    encoder: Encoder,
    datasets: Sequence[tuple[Path, float]],
    heldout_share: float,
    evaluation_file: Path | None,
) -> Corpus:
    """Read and tokenize a mixture of (file, weight).

    Raises ConfigError, ProblemFileError: a row that cannot be used, or nothing left to learn from.
    """
    corpus, rows, fit = Corpus(), 0, TemplateFit(encoder.prompts.template)
    # In batches, since tokenizers are much faster on many texts at once.
    for batch in _batches(draw(datasets, heldout_share, evaluation_file)):
        rows += len(batch)
        encoded = encoder([item.conversation for item in batch])
        for item, samples in zip(batch, encoded, strict=True):
            _add(corpus, encoder, item, samples)
            if item.copies:
                fit.add(item.conversation)
    corpus.fit = fit
    counts = corpus.epoch_samples, len(corpus.heldout)
    check_amounts(rows, *counts, heldout_share, evaluation_file=evaluation_file is not None)
    return corpus


def _batches(items: Iterable[Drawn]) -> Iterator[list[Drawn]]:
    source = iter(items)
    while batch := list(islice(source, _BATCH)):
        yield batch


def _add(corpus: Corpus, encoder: Encoder, item: Drawn, samples: Sequence[Demonstration]) -> None:
    """Add the samples of one conversation to its side; one that is on neither side is passed over."""
    # A row that the weights of the mixture leave out of the epoch.
    if not (item.heldout or item.copies):
        return
    for sample in samples:
        # Counted before it is fitted, since a sample that is cut is within the limit.
        corpus.longer += len(sample) > encoder.max_length
        fitted = encoder.fit(sample, item.conversation.source)
        if fitted is None:
            continue
        if item.heldout:
            corpus.heldout.append(fitted)
        else:
            corpus.training.append(fitted)
            corpus.copies.append(item.copies)
