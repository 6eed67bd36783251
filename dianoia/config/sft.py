"""The `sft` stage: supervised fine-tuning (DeepSeek-R1 v2 B.4.2, v1 sections 2.3.3 and 2.4).

One stage serves the cold start, the large second fine-tuning and the distilled students; they differ in start, data and
learning rate. Decisions where the paper is silent:
 1. Batches are stated as 128 and 64 without a unit. Here a step is a number of tokens.
 2. Samples longer than the context (32,768 in the paper) are left out by default. A truncated thought would be learnt
    as if it were complete.
 3. Every turn of the assistant is learnt, in the context in which the model will see it: with the thoughts of earlier
    turns stripped, as the released models' template does.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from dianoia.config.lora_table import LoRASettings
from dianoia.config.optimizer import OptimizerSettings
from dianoia.config.settings import Settings, Shard


class DatasetSettings(Settings):
    """One data set of a mixture."""

    path: str = Field(min_length=1)
    """A file of samples (JSON, JSONL, CSV, TSV, each also as .gz; Parquet; Arrow), or an earlier sample or demonstrations stage."""
    # The fraction is decided by a hash of the sample, so that all epochs and runs take the same ones.
    weight: float = Field(default=1.0, gt=0)
    """How often each sample is seen in an epoch: `2.0` twice; `0.5` half of them, chosen by a hash of the sample."""


class SFTOptimizerSettings(OptimizerSettings):
    """AdamW, with the paper's cosine to a tenth of the peak."""

    schedule: Literal["constant", "cosine"] = "cosine"
    """`cosine` from the peak down to `floor` × peak after the last step, or `constant`."""


class SFTStage(Settings):
    """Learns to write the responses of a data set."""

    kind: Literal["sft"]
    """Which stage this table is."""
    start: str
    """An earlier stage, a shipped model, a folder, or a hub name."""
    datasets: list[DatasetSettings] = Field(min_length=1)
    """The mixture: at least one table of `path` and `weight`."""
    template: str | None = None
    """The prompt around a question, see recipes. Absent: the template that `start` was trained under, as its
    checkpoint says; `r1-zero` for a base model."""
    earlier_thoughts: Literal["strip", "keep"] = "strip"
    """`strip`: the assistant's earlier turns lose their thoughts; `keep`: they do not."""
    epochs: int = Field(default=2, ge=1)
    """Times each sample of weight 1 is seen. The paper: 2 to 3."""
    max_length: int = Field(ge=2)
    """Tokens of a sample, prompt, response and end together. The paper: 32,768."""
    # Only for rotary positions, which are computed and not learnt.
    positions: int | None = Field(default=None, ge=2)
    """Positions that the model is given where its configuration has fewer, as students of Qwen2.5-Math need, which
    has 4,096. Rotary frequencies stay; other kinds of positions are refused."""
    longer: Literal["drop", "cut", "refuse"] = "drop"
    """Longer samples: `drop` leaves them out, `cut` keeps their first `max_length` tokens, `refuse` stops the stage
    before its first step."""
    tokens_per_step: int = Field(ge=2)
    """Most tokens of an optimizer step, prompts included; at least `max_length`."""
    tokens_per_micro_batch: int = Field(default=16384, ge=64)
    """Tokens of a packed row, one forward pass; at least `max_length`. Changes memory and speed, never the result.
    On a CPU at most 1,024 are used, or one longer sample."""
    autocast: Literal["none", "bfloat16", "auto"] = "none"
    """`bfloat16` for the matrix products; `auto`: where the device has instructions for it."""
    recompute: bool = False
    """Keep only the input of each layer for the backward pass and compute the rest again there: a third more work, a
    fraction of the memory, the same result."""
    shard: Shard = "auto"
    """Which ranks hold one copy of model, gradients and optimizer together: `none`, the ranks of a `node`, or `all`; `auto`:
    the first of these with which the stage fits into the memory of a device. Changes memory and speed, and results by
    rounding alone; nothing in a process by itself, see scale."""
    # At most one of this key and the next may be written, see `_one_source_of_evaluation`.
    evaluation_share: float = Field(default=0.05, ge=0, le=0.5)
    """Share of questions held out for the evaluation loss, by a hash of the question; at most 0.5; 0: none."""
    evaluation_file: str | None = None
    """Evaluate on the samples of this file (or earlier stage) instead; its questions are not trained on."""
    evaluation_every: int = Field(default=20, ge=1)
    """Optimizer steps between two evaluations; before the first step and after the last there is one too."""
    checkpoint_every: int = Field(default=100, ge=1)
    """Optimizer steps between two states to resume from."""
    optimizer: SFTOptimizerSettings
    lora: LoRASettings | None = None
    """Train low-rank adapters on frozen weights, see lora. Absent: all weights are trained."""

    @property
    def heldout_share(self) -> float:
        """Share of `datasets` that is held out: 0 if there is a file to evaluate on."""
        # The default share does not apply where a file is named.
        return self.evaluation_share if self.evaluation_file is None else 0.0

    @model_validator(mode="after")
    def _lengths_fit(self) -> Self:
        # Samples are never cut to fit a step or a row, so each has to hold the longest.
        for key in ("tokens_per_step", "tokens_per_micro_batch"):
            if getattr(self, key) < self.max_length:
                raise ValueError(
                    f"{key} = {getattr(self, key)} is below max_length = {self.max_length}, so a single "
                    f"sample may not fit; raise {key} or lower max_length"
                )
        return self

    @model_validator(mode="after")
    def _one_source_of_evaluation(self) -> Self:
        # evaluation_share has a default, so only a share that is written contradicts a file.
        has_both = {"evaluation_share", "evaluation_file"} <= self.model_fields_set
        if has_both and self.evaluation_file is not None and self.evaluation_share > 0:
            raise ValueError(
                f"evaluation_share = {self.evaluation_share:g} and evaluation_file = "
                f"{self.evaluation_file!r}: the evaluation loss is of one of the two; remove the other"
            )
        return self

    @model_validator(mode="after")
    def _datasets_differ(self) -> Self:
        paths = [dataset.path for dataset in self.datasets]
        # A path twice would have two weights, and each sample the same hash for both.
        repeated = [path for path in paths if paths.count(path) > 1]
        if repeated:
            raise ValueError(
                f"datasets: {repeated[0]!r} is named twice; to see its samples more often, name it once "
                "with a weight, e.g. 2.0"
            )
        return self
