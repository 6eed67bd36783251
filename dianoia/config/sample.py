"""The `sample` stage: from a checkpoint and problems to a data set (DeepSeek-R1 sections B.3.2 and B.3.3).

Decisions where the paper is silent:
 1. It names what is dropped (mixed languages, long paragraphs, code blocks, repetition) but no thresholds. The
    thresholds here are our choice, and each is a key.
 2. It does not state how many samples per problem are kept; `most_per_problem` does.
 3. A paragraph ends at a line break, so that a list of short lines is not a long paragraph.
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


class KeepSettings(Settings):
    """Conditions under which a sample is kept. Truncated and malformed samples never are: they have no thought."""

    correct: bool = True
    """Drop what is not right by the problem's verifier, or by the judge where no rule can tell."""
    # Programs and plugins may score shares; the rules of short answers are 0 or 1, and the value makes no difference.
    least: float = Field(default=1.0, gt=0, le=1)
    """Least score that counts as right, where a verifier gives shares: 0.5 keeps what is half as good as can be."""
    shortest: int = Field(default=1, ge=0)
    """Tokens per thought has at least; 0 keeps empty thoughts."""
    longest: int | None = Field(default=None, ge=1)
    """Tokens per thought has at most."""
    # From here on what the paper drops (B.3.2, B.3.3), with thresholds of ours.
    language: float = Field(default=0.95, ge=0, le=1)
    """Least share of a thought's words in the question's language; a thought without words passes. 0: any."""
    repetition: float = Field(default=0.5, ge=0, le=1)
    """Largest share of a thought's 4-grams that stood in it at least twice before. 1: any."""
    paragraph: int = Field(default=1200, ge=0)
    """Most characters of a line of the thought. 0: any."""
    code_blocks: bool = False
    """Keep thoughts with fenced code."""
    duplicates: bool = False
    """Keep samples of a problem that say the same as another."""
    prefer: Literal["any", "reflection"] = "any"
    """Where more pass than `most_per_problem`: any of them, or those whose thought has the most reflection words
    (the list of the paper's appendix C)."""

    @model_validator(mode="after")
    def _lengths_fit(self) -> Self:
        if self.longest is not None and self.longest < self.shortest:
            raise ValueError(
                f"longest = {self.longest} is below shortest = {self.shortest}, so no thought would "
                "be kept; raise longest or lower shortest"
            )
        return self


# A text is a name, a table a model behind an endpoint. The tag keeps errors in a table to the table.
Rewriter = Annotated[
    Annotated[str, Tag("@name")] | Annotated[EndpointSettings, Tag("@table")],
    Discriminator(endpoint_or_name),
]


class SampleStage(Settings):
    """Samples a checkpoint on training problems and keeps what passes; writes a data set, no model."""

    kind: Literal["sample"]
    """Which stage this table is."""
    start: str
    """The model that is sampled: an earlier stage, a shipped model, a folder or a hub name."""
    problems: Problems
    """A built-in set, a file, a folder, a hub name or a `[data]` table (data); its training side is used."""
    first: int = Field(default=0, ge=0)
    """Number of the first problem. `first` and `prompts` name a range that is the same for every seed; two stages
    with ranges apart get different problems."""
    prompts: int = Field(ge=1)
    """Problems drawn; one that is drawn twice (a file's next epoch) is sampled once."""
    samples: int = Field(default=4, ge=1)
    """Samples per problem. The paper: several."""
    most_per_problem: int = Field(default=1, ge=1)
    """Of those that pass, so many per problem are kept; `keep.prefer` and a hash of what they say decide which."""
    problems_per_batch: int = Field(default=64, ge=1)
    """An interrupted stage repeats at most so many problems. Changes no result."""
    template: str | None = None
    """The prompt and the form in which the model answers (recipes). Absent: as in its training, which its checkpoint
    says; `r1-zero` for a base model."""
    # Differs from `template` where R1-Zero's samples become data for a cold start with summaries.
    completion_template: str | None = None
    """The form in which `completion` is written; absent: that of `template`. `"r1"` makes data with summaries of
    samples with bare answers."""
    sampling: SamplingSettings
    keep: KeepSettings = KeepSettings()
    judge: EndpointSettings | None = None
    """The model that grades what no rule can, against the reference: the generative reward (B.3.3). Its keys follow."""
    rewriter: Rewriter = "none"
    """Who makes kept thoughts readable: `"none"`, `"miniature"` (rules), or a model, with the keys of `judge`."""
    final: Literal["answer", "summary"] = "answer"
    """What follows the thought in `completion`: `"answer"`, what the sample itself says there, or `"summary"`, the
    rewriter's."""

    @property
    def written_in(self) -> str | None:
        """Name of the template of `completion`."""
        return self.completion_template or self.template

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        loss = "there would be nothing to choose from"
        check_range_sampling(self.sampling, self.samples, self.kind, loss)
        return self

    @model_validator(mode="after")
    def _summary_has_a_writer(self) -> Self:
        if self.final == "summary" and self.rewriter == "none":
            raise ValueError(
                'final = "summary" with rewriter = "none": nothing writes a summary; name a rewriter or '
                'set final = "answer"'
            )
        return self
