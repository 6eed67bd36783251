"""The recipe itself: named stages in the order in which they run, and who starts from whom."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dianoia.base.config import (
    DemonstrationsStage,
    EvaluateStage,
    PreferencesStage,
    PretrainStage,
    RewardModelStage,
    RLStage,
    SampleStage,
    Settings,
    SFTStage,
)

Stage = Annotated[
    PretrainStage
    | SFTStage
    | RLStage
    | SampleStage
    | DemonstrationsStage
    | PreferencesStage
    | RewardModelStage
    | EvaluateStage,
    Field(discriminator="kind"),
]

DATA_KINDS = frozenset({"sample", "demonstrations"})
"""Kinds of stages that write a data set for supervised fine-tuning."""


class Recipe(Settings):
    """A graph of stages. Stages run in the order of the file and may use the checkpoints of earlier ones."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    description: str = ""
    seed: int = Field(default=1, ge=0)
    """Every random draw of the run derives from it."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of PyTorch. 0: as many as there are cores, at most 8."""
    sandbox: Literal["auto", "namespaces", "landlock", "i-accept-unsandboxed-code"] = "auto"
    """Walls around programs that a model wrote. auto: the strongest that this machine offers."""
    stages: dict[str, Stage] = Field(min_length=1)

    @model_validator(mode="after")
    def _inputs_come_first(self) -> Self:
        earlier: set[str] = set()
        for name, stage in self.stages.items():
            for source in [*sources(stage), *datasets(stage), *reward_models(stage).values()]:
                if source in self.stages and source not in earlier:
                    raise ValueError(
                        f"stages.{name} uses stages.{source}, which comes after it (or is itself); "
                        "a stage can only use earlier ones, so move it up"
                    )
            earlier.add(name)
        return self

    @model_validator(mode="after")
    def _evaluated_once(self) -> Self:
        seen: dict[str, str] = {}
        for name, stage in self.stages.items():
            for checkpoint in stage.checkpoints if isinstance(stage, EvaluateStage) else ():
                if checkpoint in seen:
                    raise ValueError(
                        f"{checkpoint!r} is evaluated twice, in stages.{seen[checkpoint]} and "
                        f"stages.{name}; results.json has one place for it, so name it once"
                    )
                seen[checkpoint] = name
        return self


def sources(stage: Stage) -> list[str]:
    """The checkpoints a stage reads: names of stages, shipped models, folders or hub names."""
    match stage:
        case RLStage() | SFTStage() | SampleStage() | RewardModelStage():
            return [stage.start]
        case PreferencesStage():
            return list(stage.starts)
        case EvaluateStage():
            return list(stage.checkpoints)
        case PretrainStage():
            return [stage.tokenizer] if stage.tokenizer else []
        case DemonstrationsStage():
            return []


def datasets(stage: Stage) -> list[str]:
    """The data sets a stage reads: names of stages, or files."""
    if isinstance(stage, RewardModelStage):
        return list(stage.data)
    if not isinstance(stage, SFTStage):
        return []
    named = [dataset.path for dataset in stage.datasets]
    return named if stage.evaluation_file is None else [*named, stage.evaluation_file]


def reward_models(stage: Stage) -> dict[str, str]:
    """The reward models a stage reads, by the key that names them: stages, folders or hub names."""
    if not isinstance(stage, RLStage) or stage.preferences is None:
        return {}
    named = {"helpful": stage.preferences.helpful, "safety": stage.preferences.safety}
    return {key: source for key, source in named.items() if source is not None}
