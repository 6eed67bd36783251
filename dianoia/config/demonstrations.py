"""The `demonstrations` stage: samples that no model of the recipe wrote (DeepSeek-R1 section B.3.3).

The paper's second fine-tuning has about 200,000 samples without a verifiable answer (writing, questions about facts,
about the model itself, translation), from DeepSeek-V3's data and people. Here they come from a generator.
"""

from typing import Literal

from pydantic import Field

from dianoia.config.settings import Settings


class DemonstrationsStage(Settings):
    """Writes demonstrations as a data set for supervised fine-tuning; needs no model."""

    kind: Literal["demonstrations"]
    """Which stage this table is."""
    source: str
    """A generator: `miniature/general`."""
    # A generator has no end, so the number has no default and no upper bound.
    rows: int = Field(ge=1)
    """Demonstrations taken, from the first on."""
    template: str = "r1"
    """The form in which `completion` is written, see recipes."""
