"""Data of `pretrain`, `demonstrations`, `sft` and `reward_model` stages: checked, counted and estimated before a model or torch is loaded.

In: a stage's table, and which data sets do not exist yet because earlier stages will write them. Out: a refusal, or a
`Survey`, `Amounts` and `Preferences`. Token counts are characters times a rate. The rate is that of the start model's own
tokenizer on the first samples, if its file is on this machine, or else a guess.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

from dianoia.base.errors import ConfigError, UserError, nearest
from dianoia.bases import model_folder
from dianoia.config import (
    DemonstrationsStage,
    PreferencesStage,
    PretrainStage,
    RewardModelStage,
    SFTStage,
)
from dianoia.datasets.preference_data import Preferences, balance_and_check, preferences
from dianoia.learner.batching.packing import optimizer_steps, pack
from dianoia.recipe.graph import DATA_KINDS, Recipe, Stage, datasets
from dianoia.tasks.conversation_files import check_amounts, draw
from dianoia.tasks.plugins import CORPORA, DEMONSTRATIONS
from dianoia.text.dialogue import samples_of
from dianoia.text.template import Template, template_of

_TOKENS_PER_CHARACTER = 0.3
"""Guess: English prose under a large vocabulary."""
_TOKENIZED_SAMPLES = 64
"""Samples whose tokens are counted, for the rate of the others."""


# Corpora and supervised fine-tuning --------------------------------------------------------------------------


def check_datasets(name: str, stage: SFTStage, recipe: Recipe) -> None:
    """Read every row of every file. Data sets that earlier stages will write cannot be read yet.

    Raises:
        ConfigError, ProblemFileError: a file is missing, a row cannot be used, or nothing is left to learn from.
    """
    writers = [source for source in datasets(stage) if source in recipe.stages]
    for source in writers:
        writer = recipe.stages[source]
        if writer.kind not in DATA_KINDS:
            raise ConfigError(
                f"stages.{name}: the data set {source!r} is a stage of kind {writer.kind!r}, which writes a model or "
                "estimates and no samples to learn from; name a file (JSON, JSONL, CSV, Parquet, ...)"
            )
    try:
        # Reads and parses every row; an unusable row raises here, with its file and number.
        template = template_of(stage.template, recipe.templates)
        survey = survey_datasets(stage, template, recipe.stages)
        # With rows still to come, too few rows cannot be told from enough.
        if not writers:
            share, has_file = stage.heldout_share, stage.evaluation_file is not None
            check_amounts(survey.rows, survey.samples, survey.heldout, share, has_file)
    except UserError as error:
        raise type(error)(f"stages.{name}: {error}") from None


def check_corpus(name: str, stage: PretrainStage) -> None:
    """Raise ConfigError for a corpus that does not exist."""
    if stage.corpus not in CORPORA:
        raise ConfigError(
            f"stages.{name}.corpus = {stage.corpus!r}: there is no such corpus{nearest(stage.corpus, CORPORA)}; "
            f"there are {', '.join(map(repr, CORPORA))}"
        )


def check_demonstrations(name: str, stage: DemonstrationsStage) -> None:
    """Raise ConfigError for a generator of demonstrations that does not exist."""
    if stage.source not in DEMONSTRATIONS:
        raise ConfigError(
            f"stages.{name}.source = {stage.source!r}: there are no such demonstrations"
            f"{nearest(stage.source, DEMONSTRATIONS)}; there are {', '.join(DEMONSTRATIONS) or 'none yet'}. A "
            "file of your own needs no stage: name it under datasets of the sft stage"
        )


@dataclass(frozen=True, slots=True)
class Survey:
    """A mixture of data sets in numbers, as far as its files exist."""

    rows: int
    samples: int
    """Training samples per epoch, copies included."""
    heldout: int
    lengths: tuple[tuple[int, int], ...]
    """(characters, copies) of each training sample, prompt and response together."""
    first_texts: tuple[str, ...]
    """The first samples as text."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """Estimated work of a fine-tuning stage."""

    samples: int
    """Samples per epoch that fit into max_length, copies included."""
    tokens: int
    """Tokens of all epochs."""
    steps: int
    rows: int
    """Packed rows, each a forward pass, of all epochs."""
    longest: int
    """Tokens of the longest sample."""

    @property
    def mean_tokens(self) -> float:
        """Tokens of all epochs per sample; 0 without samples."""
        return self.tokens / max(1, self.samples)


def survey_datasets(stage: SFTStage, template: Template, unwritten: Collection[str]) -> Survey:
    """Count the samples of the data sets by reading every row; `unwritten`: data sets that do not exist yet."""
    keep = stage.earlier_thoughts == "keep"
    rows = heldout = 0
    lengths: list[tuple[int, int]] = []
    first_texts: list[str] = []
    for example in draw(*_draw_arguments(stage, unwritten)):
        rows, heldout = rows + 1, heldout + example.heldout
        if not example.copies:  # held out, or thinned by a weight below 1
            continue
        for sample in samples_of(example.conversation, template, keep):
            text = "".join(piece.text for piece in sample)
            lengths.append((len(text), example.copies))
            if len(first_texts) < _TOKENIZED_SAMPLES:
                first_texts.append(text)
    samples = sum(copies for _, copies in lengths)
    return Survey(rows, samples, heldout, tuple(lengths), tuple(first_texts))


def _draw_arguments(
    stage: SFTStage, unwritten: Collection[str]
) -> tuple[list[tuple[Path, float]], float, Path | None]:
    """Return the arguments of `draw`: files with their weights, the held-out share, and a file of held-out rows."""
    files = [
        (Path(dataset.path).expanduser(), dataset.weight)
        for dataset in stage.datasets
        if dataset.path not in unwritten
    ]
    path = stage.evaluation_file
    heldout_file = None if path is None or path in unwritten else Path(path).expanduser()
    return files, stage.heldout_share, heldout_file


def estimate_amounts(stage: SFTStage, survey: Survey, seed: int) -> Amounts:
    """Estimate steps, rows and tokens: the arithmetic is the stage's own, the lengths are estimates."""
    # Lengths in characters are exact, so one rate converts them all.
    rate = tokens_per_character(stage.start, survey.first_texts)
    # one more token per sample, for its end
    sized = [(round(characters * rate) + 1, copies) for characters, copies in survey.lengths]
    if stage.longer == "drop":
        sized = [(length, copies) for length, copies in sized if length <= stage.max_length]
    # longer = "cut" keeps the beginning of a long sample.
    lengths = [min(length, stage.max_length) for length, _ in sized]
    counts = [copies for _, copies in sized]
    steps = optimizer_steps(
        lengths, counts, epochs=stage.epochs, tokens=stage.tokens_per_step, seed=seed
    )
    # The same packing as in training, so that rows and steps agree with the run up to the estimated lengths.
    step_lengths = ([lengths[index] for index in step] for step in steps)
    rows = sum(len(pack(step, stage.tokens_per_micro_batch)) for step in step_lengths)
    tokens = stage.epochs * sum(n * copies for n, copies in zip(lengths, counts, strict=True))
    return Amounts(sum(counts), tokens, len(steps), rows, max(lengths, default=0))


def tokens_per_character(start: str, texts: tuple[str, ...]) -> float:
    """Return the tokens per character of texts, by the tokenizer of a model; a guess if it is not on this machine."""
    file = model_folder(start) / "tokenizer.json"
    characters = sum(map(len, texts))
    # A hub model that is not here yet, or a stage that has not run.
    if not (start and characters and file.is_file()):
        return _TOKENS_PER_CHARACTER
    tokenizer = _tokenizer(file, file.stat().st_mtime_ns)
    encodings = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return sum(len(encoding.ids) for encoding in encodings) / characters


@lru_cache(maxsize=4)
def _tokenizer(file: Path, _changed: int) -> Tokenizer:
    """Read a tokenizer once: one of a large vocabulary takes half a second, and every stage asks for it."""
    return Tokenizer.from_file(str(file))


# Reward models -----------------------------------------------------------------------------------


def read_preferences(name: str, stage: RewardModelStage, recipe: Recipe) -> Preferences:
    """Read every row of a reward model's files and return its examples; rows of earlier stages do not exist yet.

    Raises:
        ConfigError, ProblemFileError: a file is missing, a row cannot be used, or nothing is left to learn from.
    """
    writers = [source for source in stage.data if source in recipe.stages]
    for source in writers:
        _check_preference_stage(f"stages.{name}.data = {source!r}", stage, recipe.stages[source])
    # Everything that is no stage has to be a file.
    files = [Path(source).expanduser() for source in stage.data if source not in writers]
    for file in files:
        if not file.is_file():
            stages = [n for n, s in recipe.stages.items() if isinstance(s, PreferencesStage)]
            raise ConfigError(
                f"stages.{name}.data = {str(file)!r}: there is no such file of preferences and no earlier stage "
                f"of that name{nearest(str(file), stages)}; give files (JSON, JSONL, CSV, Parquet, ...) with the columns of "
                "docs/reward_model.md, or the name of a preferences stage"
            )
    examples = preferences(stage, files, template_of(stage.template, recipe.templates))
    # With rows to come, nothing can be said yet about balanced lengths or too few rows.
    return examples if writers else balance_and_check(stage, examples, name, recipe.seed)


def _check_preference_stage(where: str, stage: RewardModelStage, source: Stage) -> None:
    """Raise ConfigError for a stage whose output `stage` cannot learn from."""
    if not isinstance(source, PreferencesStage):
        raise ConfigError(
            f"{where}: this is a stage of kind {source.kind!r}, which writes no preferences; name a stage of "
            'kind = "preferences", or a file'
        )
    if source.objective != stage.objective:
        raise ConfigError(
            f"{where}: that stage has objective = {source.objective!r} and this one {stage.objective!r}; pairs and "
            "labelled responses are different data, so give both the same objective"
        )
