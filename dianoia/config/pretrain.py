"""The `pretrain` stage: a base model from scratch."""

from typing import Literal, Self

from pydantic import Field, model_validator

from dianoia.config.optimizer import OptimizerSettings
from dianoia.config.settings import Settings, Shard


class ModelShape(Settings):
    """A Qwen3 decoder."""

    hidden_size: int = Field(ge=8)
    """Width of the residual stream."""
    layers: int = Field(ge=1)
    """Decoder layers."""
    heads: int = Field(ge=1)
    """Query heads; a multiple of `kv_heads`."""
    kv_heads: int = Field(ge=1)
    """Key-value heads."""
    # Even, since RoPE rotates pairs of dimensions. Need not be hidden_size / heads: Qwen3 projects to heads × head_dim.
    head_dim: int = Field(ge=2, multiple_of=2)
    """Width of a head, even."""
    intermediate_size: int = Field(ge=8)
    """Width of the gated feed-forward layer."""
    max_positions: int = Field(default=1024, ge=16)
    """Longest sequence, prompt and response together."""

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(
                f"heads = {self.heads} is not a multiple of kv_heads = {self.kv_heads}; "
                "each key-value head serves an equal number of heads"
            )
        return self


class Habits(Settings):
    """Habits of the authors of the miniature's corpus, as shares of documents. The base model inherits them."""

    # Shares of documents by type; `corpus.document` spends one random number on them in this order.
    dialogues: float = Field(default=0.45, ge=0, le=1)
    """Share of documents that are dialogues under the R1-Zero prompt."""
    pages: float = Field(default=0.10, ge=0, le=1)
    """Share of documents that are questions answered at once, without the prompt."""
    worked: float = Field(default=0.25, ge=0, le=1)
    """Share of documents with a derivation or a check, without the prompt."""
    explained: float = Field(default=0.05, ge=0, le=1)
    """Share of documents that are pages of textbooks, in whole sentences. What `dialogues`, `pages`, `worked` and
    `explained` leave are drills."""
    worked_check: float = Field(default=0.4, ge=0, le=1)
    """Share of the worked documents that check."""
    # Habits of the authors of dialogues. By default the base mostly answers at once and rarely checks, so that there is
    # something for reinforcement learning to find.
    derive: float = Field(default=0.17, ge=0, le=1)
    """Share of dialogues that derive once."""
    check: float = Field(default=0.06, ge=0, le=1)
    """Share of dialogues that derive, derive again and settle. What `derive` and `check` leave answer at once."""
    sloppy: float = Field(default=0.15, ge=0, le=1)
    """Share of dialogues that break the format."""
    slip: float = Field(default=0.07, ge=0, le=1)
    """Probability that a line of a first derivation is wrong."""
    slip_zh: float | None = Field(default=None, ge=0, le=1)
    """The same of an author who thinks in Chinese; absent: as `slip`. Who mixes the languages slips in between."""
    check_slip: float = Field(default=0.02, ge=0, le=1)
    """The same for a second or third derivation: whoever checks takes more care."""
    guess_right: float = Field(default=0.5, ge=0, le=1)
    """Probability that an answer at once is the right one, where a feeling for numbers or knowledge helps."""
    # Languages of thoughts. The base mixes them, so that the language reward (eq. 7) has something to act on.
    foreign: float = Field(default=0.08, ge=0, le=1)
    """Share of thoughts in the other language."""
    mixed: float = Field(default=0.12, ge=0, le=1)
    """Share of thoughts that mix the languages."""
    # Shares of documents by domain.
    code: float = Field(default=0.10, ge=0, le=1)
    """Share of documents about functions from descriptions."""
    stem: float = Field(default=0.10, ge=0, le=1)
    """Share of documents about multiple choice."""
    logic: float = Field(default=0.09, ge=0, le=1)
    """Share of documents about puzzles and the output of programs."""
    general: float = Field(default=0.12, ge=0, le=1)
    """Share of documents about general requests."""
    safety: float = Field(default=0.07, ge=0, le=1)
    """Share of documents about harmful requests and near misses. What `code`, `stem`, `logic`, `general` and
    `safety` leave is mathematics."""

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        # Each group of shares divides one thing: documents, dialogues, thoughts, domains.
        for names in (
            ("dialogues", "pages", "worked", "explained"),
            ("derive", "check"),
            ("foreign", "mixed"),
            ("code", "stem", "logic", "general", "safety"),
        ):
            total = sum(getattr(self, name) for name in names)
            if total > 1 + 1e-9:  # sums of decimal fractions are off by rounding
                raise ValueError(
                    f"{' + '.join(names)} = {total:g}; shares cannot exceed 1 together"
                )
        return self


class PretrainStage(Settings):
    """Trains a base model and its tokenizer from scratch on a generated corpus."""

    kind: Literal["pretrain"]
    """Which stage this table is."""
    corpus: str = "miniature"
    """Generator of the documents, see miniature."""
    habits: Habits = Habits()
    model: ModelShape
    # At least the 256 bytes, the tags, the end and some merges.
    vocabulary: int = Field(default=1024, ge=300)
    """Largest size of the tokenizer; a small world may need less."""
    tokenizer: str | None = None
    """Take the tokenizer of this earlier stage, shipped model, folder or hub name instead of training one."""
    tokens: int = Field(ge=1)
    """Tokens to train on; documents are generated as they are needed, none is replayed."""
    tokens_per_step: int = Field(default=4096, ge=256)
    """Most positions of a batch, padding included; also the unit in which the schedule counts."""
    shard: Shard = "auto"
    """Which ranks hold one copy of model, gradients and optimizer together: `none`, the ranks of a `node`, or `all`; `auto`:
    the first of these with which the stage fits into the memory of a device. Changes memory and speed, and results by
    rounding alone; nothing in a process by itself, see scale."""
    optimizer: OptimizerSettings
