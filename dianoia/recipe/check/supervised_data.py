"""The data sets of supervised fine-tuning in numbers, before a model or torch is loaded.

In: an `sft` table, and the names of data sets that do not exist yet, such as those of stages. Out: `Survey`.
Tokens are characters times the tokens a character that the start's own tokenizer gives the first samples,
where its file is on this machine, else a guess.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from dianoia.bases import shipped_model
from dianoia.config import SFTStage
from dianoia.learner.batching.packing import optimizer_steps, pack
from dianoia.tasks.conversation_files import draw
from dianoia.text.dialogue import samples_of
from dianoia.text.template import TEMPLATES

_TOKENS_A_CHARACTER = 0.3
"""Guess: English prose under a large vocabulary."""
_READ = 64
"""Samples that are tokenized to know better."""


@dataclass(frozen=True, slots=True)
class Survey:
    """A mixture in numbers, as far as its files exist."""

    rows: int
    learnt: int
    """Samples an epoch, copies counted."""
    heldout: int
    lengths: tuple[tuple[int, int], ...]
    """(characters, copies) of each sample to learn, prompt and response together."""
    beginning: tuple[str, ...]
    """The first samples as text."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """What the stage will do, about."""

    samples: int
    """Samples an epoch that fit into max_length, copies counted."""
    tokens: int
    """Of all epochs."""
    steps: int
    rows: int
    """Packed rows, forward passes, of all epochs."""
    longest: int
    """Tokens of the longest sample."""

    @property
    def mean(self) -> float:
        """Tokens of a sample, about; 0 without one."""
        return self.tokens / max(1, self.samples)


def survey(stage: SFTStage, elsewhere: Collection[str]) -> Survey:
    """Count the samples of the data sets, reading every row; those of `elsewhere` cannot be read yet."""
    template, keep = TEMPLATES[stage.template], stage.earlier_thoughts == "keep"
    rows = heldout = 0
    lengths: list[tuple[int, int]] = []
    beginning: list[str] = []
    for drawn in draw(*_files(stage, elsewhere)):
        rows, heldout = rows + 1, heldout + drawn.heldout
        for sample in samples_of(drawn.conversation, template, keep) if drawn.copies else ():
            text = "".join(piece.text for piece in sample)
            lengths.append((len(text), drawn.copies))
            beginning += [text] if len(beginning) < _READ else []
    learnt = sum(copies for _, copies in lengths)
    return Survey(rows, learnt, heldout, tuple(lengths), tuple(beginning))


def _files(
    stage: SFTStage, elsewhere: Collection[str]
) -> tuple[list[tuple[Path, float]], float, Path | None]:
    """The arguments of `draw`."""
    named = [dataset for dataset in stage.datasets if dataset.path not in elsewhere]
    files = [(Path(dataset.path).expanduser(), dataset.weight) for dataset in named]
    held = stage.evaluation_file
    file = None if held is None or held in elsewhere else Path(held).expanduser()
    return files, stage.heldout_share, file


def amounts(stage: SFTStage, found: Survey, seed: int) -> Amounts:
    """Steps, rows and tokens, by the arithmetic of the stage itself on estimated lengths."""
    rate = _tokens_a_character(stage.start, found.beginning)
    sized = [(round(characters * rate) + 1, copies) for characters, copies in found.lengths]
    if stage.longer == "drop":
        sized = [(length, copies) for length, copies in sized if length <= stage.max_length]
    lengths = [min(length, stage.max_length) for length, _ in sized]
    counts = [copies for _, copies in sized]
    steps = optimizer_steps(
        lengths, counts, epochs=stage.epochs, tokens=stage.tokens_per_step, seed=seed
    )
    packed = ([lengths[index] for index in step] for step in steps)
    rows = sum(len(pack(step, stage.tokens_per_micro_batch)) for step in packed)
    tokens = stage.epochs * sum(n * copies for n, copies in zip(lengths, counts, strict=True))
    return Amounts(sum(counts), tokens, len(steps), rows, max(lengths, default=0))


def _tokens_a_character(start: str, texts: tuple[str, ...]) -> float:
    file = (shipped_model(start) or Path(start).expanduser()) / "tokenizer.json"
    characters = sum(map(len, texts))
    if not (characters and file.is_file()):
        return _TOKENS_A_CHARACTER
    tokenizer = Tokenizer.from_file(str(file))
    encoded = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return sum(len(one.ids) for one in encoded) / characters
