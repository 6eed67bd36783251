"""The `evaluate` stage (protocol: DeepSeek-R1 supplementary D.1)."""

from typing import Literal, Self

from pydantic import Field, model_validator

from dianoia.config.data_table import Problems
from dianoia.config.draw_checks import refuse_alike
from dianoia.config.settings import Settings


class EvaluateStage(Settings):
    """Samples checkpoints on held-out problems: pass@1, cons@k, pass@k with intervals."""

    kind: Literal["evaluate"]
    checkpoints: list[str] = Field(min_length=1)
    """Earlier stages, shipped models, folders or hub names; each gets a row."""
    problems: Problems
    """A problem set of the catalogue, or a file."""
    whole_file: bool = False
    """Use every problem of a file, not the tenth that is held out: for a file that is a test set."""
    limit: int = Field(default=512, ge=1)
    """At most so many problems."""
    samples: int = Field(default=16, ge=1)
    """Samples a problem (k)."""
    template: str = "r1-zero"
    max_tokens: int = Field(ge=1)
    temperature: float = Field(default=0.6, ge=0)
    """The paper: 0.6. 0 is greedy, with samples = 1; the paper avoids it: it repeats itself more."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    slots: int = Field(default=256, ge=1)
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the sampler's weights and its cache; log-probabilities and the output head stay float32."""
    keep: int = Field(default=64, ge=0)
    """Problems whose rollouts are kept for reading."""

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        use = f"cons@{self.samples} and pass@{self.samples} would be pass@1 under other names"
        refuse_alike("samples", self.samples, self, "", use)
        return self
