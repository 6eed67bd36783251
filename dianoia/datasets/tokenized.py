"""From conversations to token ids with marks at what is learnt, and a whole data set of them.

In: a recipe's `sft` table, files, a tokenizer. Out: `Corpus`: what an epoch repeats, and what is held out.
Token ids are kept in memory, four bytes each and one for the mark. Left out: reading token ids from disk.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedTokenizerBase

from dianoia.base.errors import ConfigError
from dianoia.base.records import Conversation
from dianoia.learner.attention.packed_rows import Demonstration
from dianoia.models.loading import encode_prompts
from dianoia.tasks.conversation_files import Drawn, check_amounts, draw
from dianoia.text.dialogue import Part, Piece, samples_of
from dianoia.text.template import Template
from dianoia.text.template_fit import TemplateFit

_LOT = 512
"""Conversations that are tokenized together."""


@dataclass(slots=True)
class Corpus:
    """What a supervised stage learns from and is evaluated on."""

    training: list[Demonstration] = field(default_factory=list)
    copies: list[int] = field(default_factory=list)
    """Times an epoch, one number a training sample."""
    heldout: list[Demonstration] = field(default_factory=list)
    fit: TemplateFit | None = None
    """How well the responses of the training side fit the template."""
    longer: int = 0
    """Samples that were longer than the limit, whatever was done with them."""

    @property
    def epoch_samples(self) -> int:
        """Samples seen in an epoch, copies counted."""
        return sum(self.copies)

    def fingerprint(self) -> str:
        """A hash of every token, mark and copy, in order."""
        digest = hashlib.sha256(repr(self.copies).encode())
        for sample in (*self.training, *self.heldout):
            digest.update(sample.ids_L.numpy().tobytes() + sample.learnt_L.numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Encoder:
    """Turns conversations into samples of at most `max_length` tokens."""

    tokenizer: PreTrainedTokenizerBase
    template: Template
    end_id: int
    keep_thoughts: bool
    max_length: int
    longer: Literal["drop", "cut", "refuse"]

    def __call__(self, conversations: Sequence[Conversation]) -> list[list[Demonstration]]:
        """The samples of each conversation, whole; several of one where earlier thoughts are stripped."""
        pieces = [samples_of(one, self.template, self.keep_thoughts) for one in conversations]
        flat = [sample for samples in pieces for sample in samples]
        firsts = self._ids([sample[0].text for sample in flat], whole=True)
        rests = self._ids([piece.text for sample in flat for piece in sample[1:]], whole=False)
        encoded = (self._sample(sample, next(firsts), rests) for sample in flat)
        return [[next(encoded) for _ in samples] for samples in pieces]

    def _ids(self, texts: list[str], whole: bool) -> Iterator[list[int]]:
        """Of each text; `whole` adds what the tokenizer puts before it, as the sampler's prompts have it."""
        if whole:
            return iter(encode_prompts(self.tokenizer, texts))
        return iter(self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else [])

    def _sample(
        self, pieces: list[Piece], first: list[int], rest: Iterator[list[int]]
    ) -> Demonstration:
        ids, learnt = list(first), [False] * len(first)
        for piece in pieces[1:]:
            more = next(rest)
            more = more if piece.part is Part.PROMPT else [*more, self.end_id]
            ids += more
            learnt += [piece.part is Part.RESPONSE] * len(more)
        return Demonstration(torch.tensor(ids, dtype=torch.int32), torch.tensor(learnt))

    def fitted(self, sample: Demonstration, source: str) -> Demonstration | None:
        """The sample, cut if it has to be; None where it is left out. Raises ConfigError to refuse it."""
        if len(sample) <= self.max_length:
            return sample
        if self.longer == "refuse":
            raise ConfigError(
                f"{source}: the sample has {len(sample)} tokens, above max_length = {self.max_length}, and "
                'longer = "refuse"; raise max_length, shorten the sample, or choose longer = "drop" or "cut"'
            )
        cut = Demonstration(sample.ids_L[: self.max_length], sample.learnt_L[: self.max_length])
        return cut if self.longer == "cut" and bool(cut.learnt_L.any()) else None


def load_corpus(
    encoder: Encoder,
    datasets: Sequence[tuple[Path, float]],
    heldout_share: float,
    evaluation_file: Path | None,
) -> Corpus:
    """Read and tokenize a mixture of (file, weight).

    Raises ConfigError, ProblemFileError: a row that cannot be used, or nothing left to learn from.
    """
    corpus, rows, fit = Corpus(), 0, TemplateFit(encoder.template)
    for lot in _lots(draw(datasets, heldout_share, evaluation_file)):
        rows += len(lot)
        encoded = encoder([drawn.conversation for drawn in lot])
        for drawn, samples in zip(lot, encoded, strict=True):
            _add(corpus, encoder, drawn, samples)
            if drawn.copies:
                fit.add(drawn.conversation)
    corpus.fit = fit
    counts = corpus.epoch_samples, len(corpus.heldout)
    check_amounts(rows, *counts, heldout_share, evaluation_file=evaluation_file is not None)
    return corpus


def _lots(drawn: Iterable[Drawn]) -> Iterator[list[Drawn]]:
    source = iter(drawn)
    while lot := list(islice(source, _LOT)):
        yield lot


def _add(corpus: Corpus, encoder: Encoder, drawn: Drawn, samples: Sequence[Demonstration]) -> None:
    if not (drawn.heldout or drawn.copies):
        return
    for sample in samples:
        corpus.longer += len(sample) > encoder.max_length
        fitted = encoder.fitted(sample, drawn.conversation.source)
        if fitted is None:
            continue
        if drawn.heldout:
            corpus.heldout.append(fitted)
        else:
            corpus.training.append(fitted)
            corpus.copies.append(drawn.copies)
