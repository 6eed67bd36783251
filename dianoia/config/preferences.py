"""The `preferences` stage: training data of reward models (DeepSeek-R1 section 3.1 and B.2).

The paper: each pair of responses is judged four times, in an order drawn at random; safety data are responses of
models, labelled by a guideline. Decisions where it is silent:
 1. Orders alternate instead of being drawn, so that a preference for a position cancels out exactly. The number of
    judgements is therefore even.
 2. A pair is drawn from all responses to a problem, whichever checkpoint wrote them.
"""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from dianoia.config.data_table import Problems
from dianoia.config.endpoint_table import EndpointSettings, endpoint_or_name
from dianoia.config.sampling import (
    SamplingSettings,
    check_range_sampling,
)
from dianoia.config.settings import Settings

PreferenceJudge = Annotated[
    Annotated[str, Tag("@name")] | Annotated[EndpointSettings, Tag("@table")],
    Discriminator(endpoint_or_name),
]
# Named, since `_every_key_is_read` compares with them: a key that does nothing is refused unless it has its default.
_JUDGEMENTS, _PAIRS = 4, 1


class PreferencesStage(Settings):
    """Samples checkpoints and has a judge compare or label the responses; writes a data set, no model."""

    kind: Literal["preferences"]
    """Which stage this table is."""
    starts: list[str] = Field(min_length=1)
    """The models whose responses are judged, each giving as many: earlier stages, shipped models, folders, hub
    names."""
    problems: Problems
    """A built-in set, a file, a folder, a hub name or a `[data]` table (data); its training side is used."""
    first: int = Field(default=0, ge=0)
    """Number of the first problem; `first` and `prompts` name a range as in a sample stage."""
    prompts: int = Field(ge=1)
    """Problems drawn; one that is drawn twice (a file's next epoch) is used once."""
    samples: int = Field(default=4, ge=1)
    """Responses per problem and checkpoint."""
    template: str = "r1-zero"
    """As in the models' training."""
    sampling: SamplingSettings
    objective: Literal["pairwise", "pointwise"] = "pairwise"
    """`pairwise`: pairs of responses with verdicts, for the helpful model; `pointwise`: responses labelled safe or
    unsafe, for the safety model."""
    judge: PreferenceJudge
    """Who judges: `"miniature"` (rules, for the miniature's problems), or a model, with the keys that follow."""
    # The paper judges each pair four times (section 3.1).
    judgements: int = Field(default=_JUDGEMENTS, ge=2)
    """Times a pair is judged, half of them in either order; even."""
    pairs_per_problem: int = Field(default=_PAIRS, ge=1)
    """Pairs drawn of a problem's responses, as far as they differ."""
    guideline: str | None = None
    """A text file that says what is safe, for a model as judge; absent: a guideline of ours."""
    problems_per_batch: int = Field(default=64, ge=1)
    """An interrupted stage repeats at most so many problems. Changes no result."""

    @property
    def responses_per_problem(self) -> int:
        """Responses per problem, over all checkpoints."""
        return len(self.starts) * self.samples

    @property
    def max_rows(self) -> int:
        """Rows of the data set if no response is left out."""
        pairwise = self.objective == "pairwise"
        return self.prompts * (self.pairs_per_problem if pairwise else self.responses_per_problem)

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        loss = "a checkpoint's responses could not be compared with one another"
        check_range_sampling(self.sampling, self.samples, self.kind, loss)
        return self

    @model_validator(mode="after")
    def _starts_differ(self) -> Self:
        repeated = [start for start in self.starts if self.starts.count(start) > 1]
        if repeated:
            raise ValueError(
                f"starts: {repeated[0]!r} is named twice; every checkpoint gives samples = {self.samples} "
                "responses per problem, so name it once and raise samples"
            )
        return self

    @model_validator(mode="after")
    def _pairs_can_be_drawn(self) -> Self:
        # Single responses are labelled, so one response per problem is enough.
        if self.objective == "pointwise":
            return self
        count = self.responses_per_problem
        # n responses make n (n - 1) / 2 pairs.
        if self.pairs_per_problem > count * (count - 1) // 2:
            raise ValueError(
                f"pairs_per_problem = {self.pairs_per_problem}: {count} responses per problem (samples = "
                f"{self.samples} of {len(self.starts)} checkpoints) make {count * (count - 1) // 2} pairs; raise "
                "samples or lower pairs_per_problem"
            )
        if self.judgements % 2:
            raise ValueError(
                f"judgements = {self.judgements}: an odd number cannot show each response first equally often, "
                "and a judge's preference for a position would count; use an even one (the paper: 4)"
            )
        return self

    @model_validator(mode="after")
    def _every_key_is_read(self) -> Self:
        pairwise, by_model = self.objective == "pairwise", isinstance(self.judge, EndpointSettings)
        if not pairwise and (self.judgements, self.pairs_per_problem) != (_JUDGEMENTS, _PAIRS):
            raise ValueError(
                'judgements and pairs_per_problem belong to pairs, and objective = "pointwise" labels each '
                'response by itself, once; remove them, or set objective = "pairwise"'
            )
        if self.guideline is not None and (pairwise or not by_model):
            raise ValueError(
                f"guideline = {self.guideline!r}: only a model that labels responses reads it; remove it, or set "
                'objective = "pointwise" and a judge with url and model'
            )
        return self
