"""The `evaluate` stage (protocol: DeepSeek-R1 supplementary D.1)."""

from typing import Literal, Self

from pydantic import Field, model_validator

from dianoia.config.data_table import Problems
from dianoia.config.sampling import refuse_identical_samples
from dianoia.config.settings import Settings
from dianoia.config.template_table import QUESTION


class EvaluateStage(Settings):
    """Samples checkpoints on held-out problems: pass@1, cons@k, pass@k with intervals."""

    kind: Literal["evaluate"]
    """Which stage this table is."""
    checkpoints: list[str] = Field(min_length=1)
    """Earlier stages, shipped models, folders or hub names; each gets a row. The report compares the first with the
    last, or, where claims names them, the base with the last model of R1's chain."""
    problems: Problems
    """A built-in set, a file, a folder, a hub name or a `[data]` table (data); its held-out problems are used, of a
    file a tenth. Problems that no rule can grade (`reference`) are refused."""
    whole_file: bool = False
    """Use every problem of a file, not the tenth that is held out: for a file that is a test set."""
    limit: int = Field(default=512, ge=1)
    """At most so many problems."""
    samples: int = Field(default=16, ge=1)
    """Samples per problem (k). The paper: 4 to 64 (D.1), 16 for the curve of R1-Zero (figure 1). Above 1 refused where
    all would be the same text: `temperature` below 0.01, `top_k` = 1, `top_p` up to 0.05."""
    pass_at: list[int] = []
    """Further k for which pass@k is estimated from the same samples, between 1 and `samples`. Its unbiased estimator
    (arXiv 2107.03374) needs no other draw."""
    template: str | dict[str, str] | None = None
    """The prompt around a question, see recipes: one for all, or a table of one per checkpoint. Absent: the template that
    each checkpoint was trained under, as it says itself; `r1-zero` for a base model."""
    wording: str = "{question}"
    """What is asked: a text with `{question}` once, such as a benchmark's instruction around it. Other braces are literal.
    Verifiers and the split see the question alone."""
    max_tokens: int = Field(ge=1)
    """Response tokens, the end token included. The paper: 32,768 (D.1)."""
    # These keys stand in the stage's own table, not under `sampling`: there is no schedule and no training here.
    temperature: float = Field(default=0.6, ge=0)
    """The paper: 0.6 (D.1). 0 is greedy, with `samples = 1`; the paper avoids it: it repeats itself more."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """The paper: 0.95 (D.1)."""
    top_k: int = Field(default=0, ge=0)
    """Most likely tokens kept; 0 keeps the whole vocabulary."""
    slots: int = Field(default=256, ge=1)
    """Samples decoded at the same time, at most: memory and speed."""
    cache_share: float = Field(default=0.8, gt=0, le=1)
    """On a GPU: share of the free memory that the KV cache may take. A response takes pages of it as it grows; when there are
    none, the newest waits and goes on later. Responses do not depend on it, only time does."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the sampler's weights and cache: `bfloat16` halves them. Its head over the vocabulary, logits and
    log-probabilities stay float32."""
    keep: int = Field(default=64, ge=0)
    """Problems whose rollouts are kept for reading."""

    def template_of(self, checkpoint: str) -> str | None:
        """Return the name of the template of a checkpoint; None: the checkpoint's own."""
        return self.template.get(checkpoint) if isinstance(self.template, dict) else self.template

    @model_validator(mode="after")
    def _templates_are_of_checkpoints(self) -> Self:
        template_names = self.template if isinstance(self.template, dict) else {}
        unknown = [name for name in template_names if name not in self.checkpoints]
        if unknown:
            raise ValueError(
                f"template.{unknown[0]}: checkpoints does not name it (there are {', '.join(self.checkpoints)}); add it "
                "there, or remove the entry"
            )
        return self

    @model_validator(mode="after")
    def _pass_at_is_within_samples(self) -> Self:
        for k in self.pass_at:
            if not 1 <= k <= self.samples:
                raise ValueError(
                    f"pass_at has {k}, and pass@{k} needs from 1 to samples = {self.samples} samples per problem; "
                    "remove it, or raise samples"
                )
        return self

    @model_validator(mode="after")
    def _wording_holds_the_question(self) -> Self:
        if self.wording.count(QUESTION) != 1:
            raise ValueError(
                f"wording = {self.wording!r} holds {QUESTION} {self.wording.count(QUESTION)} times, and a question is "
                "asked once; write it where the question stands"
            )
        return self

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        # The prefix is empty for the same reason: messages name the keys as they stand in the recipe.
        loss = f"cons@{self.samples} and pass@{self.samples} would be pass@1 under other names"
        refuse_identical_samples("samples", self.samples, self, "", loss)
        return self
