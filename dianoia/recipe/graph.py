"""The recipe itself: named stages in the order in which they run, and who starts from whom."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from dianoia.base.errors import nearest
from dianoia.config import (
    ClaimsSettings,
    DataSettings,
    DemonstrationsStage,
    EvaluateStage,
    FileSettings,
    FunctionSettings,
    PreferencesStage,
    PretrainStage,
    Problems,
    RewardModelStage,
    RLStage,
    SampleStage,
    Settings,
    SFTStage,
    path_of,
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

_STAGE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
MODEL_KINDS = frozenset({"pretrain", "sft", "rl"})
"""Kinds of stages that write a language model."""
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
    data: dict[str, DataSettings] = Field(default={})
    """Sets of problems by name, for `problems` of the stages."""
    stages: dict[str, Stage] = Field(min_length=1)
    claims: ClaimsSettings = ClaimsSettings()
    """Which checkpoint plays which part of the paper."""

    @model_validator(mode="after")
    def _names_are_folders(self) -> Self:
        for name in self.stages:
            if not re.fullmatch(_STAGE_NAME, name):
                raise ValueError(
                    f"stages.{name}: the name of a stage is that of its folder, so it holds letters, digits, '.', "
                    "'_' and '-' only, and begins with a letter or a digit; rename it"
                )
        return self

    @model_validator(mode="after")
    def _data_have_their_tables(self) -> Self:
        """Where a stage says the name of a `[data]` table, the table takes the name's place."""
        unused = set(self.data)
        for name, stage in self.stages.items():
            found, used = _with_tables(stage, self.data)
            self.stages[name] = found
            unused -= used
        if unused:
            raise ValueError(
                f"data.{min(unused)}: no stage names this table; name it in the problems of a stage, or under "
                "decontaminate of a table that a stage names, or remove it"
            )
        return self

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
        """On other problems a checkpoint may be evaluated again: by domain, the later stage counts."""
        seen: dict[tuple[str, str], str] = {}
        for name, stage in self.stages.items():
            if not isinstance(stage, EvaluateStage):
                continue
            for checkpoint in stage.checkpoints:
                before = seen.setdefault((checkpoint, repr(stage.problems)), name)
                if before != name:
                    raise ValueError(
                        f"{checkpoint!r} is evaluated twice on problems = {stage.problems!r}, in stages.{before} and "
                        f"stages.{name}; results.json has one place for it, so name it once"
                    )
        return self

    @model_validator(mode="after")
    def _parts_are_there(self) -> Self:
        """A claim is about a model of this run: one that a stage trains or evaluates."""
        stages = self.stages.values()
        seen = [
            c for stage in stages if isinstance(stage, EvaluateStage) for c in stage.checkpoints
        ]
        trained = [name for name, stage in self.stages.items() if stage.kind in MODEL_KINDS]
        known = list(dict.fromkeys([*trained, *seen]))
        for part, name in self.claims.parts.items():
            if name not in known:
                raise ValueError(
                    f"claims.{part} = {name!r}: no stage of this recipe trains such a model and none evaluates "
                    f"it{nearest(name, known)}; there are {', '.join(known) or 'none'}"
                )
        overoptimized = self.claims.overoptimized
        if overoptimized is not None and not isinstance(self.stages.get(overoptimized), RLStage):
            raise ValueError(
                f"claims.overoptimized = {overoptimized!r} is no stage of kind 'rl', and the claim is about "
                "the course of one; name the stage that trains under the helpful reward model"
            )
        return self


def _with_tables(stage: Stage, data: Mapping[str, DataSettings]) -> tuple[Stage, set[str]]:
    """The stage with tables in place of their names, and the names that were used."""
    used: set[str] = set()

    def table(problems: Problems | None) -> Problems | None:
        if isinstance(problems, str) and problems in data:
            used.add(problems)
            problems = data[problems]
        if not isinstance(problems, DataSettings):
            return problems
        used.update(name for name in map(path_of, problems.decontaminate) if name in data)
        tests = [
            _as_tests(data[test]) if isinstance(test, str) and test in data else test
            for test in problems.decontaminate
        ]
        return problems.model_copy(update={"decontaminate": tests})

    update: dict[str, Any] = {}
    if isinstance(stage, RLStage | EvaluateStage | SampleStage | PreferencesStage):
        update["problems"] = table(stage.problems)
    if isinstance(stage, RLStage) and stage.preferences is not None:
        chosen = stage.preferences
        general = {"problems": chosen.problems, "safety_problems": chosen.safety_problems}
        tables = {key: table(value) for key, value in general.items()}
        update["preferences"] = chosen.model_copy(update=tables)
    return (stage.model_copy(update=update) if used else stage), used


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
    """The reward models a stage reads, by the name of their part of the reward: stages, folders or hub names."""
    if not isinstance(stage, RLStage):
        return {}
    return {**general_models(stage), **{one.name: one.model for one in stage.rewards.models}}


def general_models(stage: RLStage) -> dict[str, str]:
    """Those of them that score general prompts, by the key of `preferences` that names them."""
    if stage.preferences is None:
        return {}
    named = {"helpful": stage.preferences.helpful, "safety": stage.preferences.safety}
    return {key: source for key, source in named.items() if source is not None}


def functions(stage: Stage) -> list[FunctionSettings]:
    """The reward functions that a stage calls."""
    return stage.rewards.functions if isinstance(stage, RLStage) else []


def _as_tests(data: DataSettings) -> FileSettings:
    """What others are kept clear of: the same rows, whatever is held out of them."""
    return FileSettings.model_validate(data.model_dump(include=set(FileSettings.model_fields)))


def problems_of(stage: Stage) -> list[str | FileSettings]:
    """The sets of problems that a stage reads, those that it is kept clear of included."""
    match stage:
        case RLStage():
            chosen = stage.preferences
            general = () if chosen is None else (chosen.problems, chosen.safety_problems)
            named: list[Problems] = [
                stage.problems,
                *(name for name in general if name is not None),
            ]
        case PreferencesStage() | SampleStage() | EvaluateStage():
            named = [stage.problems]
        case _:
            return []
    tables = (one for one in named if isinstance(one, DataSettings))
    return [*named, *(test for table in tables for test in table.decontaminate)]


def others(stage: Stage) -> list[str]:
    """What a stage reads besides checkpoints and data sets: problem sets, files of problems, a guideline."""
    found = [path_of(problems) for problems in problems_of(stage)]
    if isinstance(stage, PreferencesStage) and stage.guideline:
        found.append(stage.guideline)
    return found


def reads(stage: Stage) -> list[str]:
    """Everything that a stage reads, by name: what is no earlier stage is a built-in, a file, a folder or a hub name."""
    judges = reward_models(stage).values()
    return list(dict.fromkeys([*sources(stage), *judges, *datasets(stage), *others(stage)]))


def upstream(name: str, recipe: Recipe) -> list[str]:
    """The earlier stages that a stage reads itself."""
    return [source for source in reads(recipe.stages[name]) if source in recipe.stages]


def dependents(name: str, recipe: Recipe) -> list[str]:
    """The stages that read a stage, directly or through others, in the order of the recipe."""
    found = [name]
    for later in recipe.stages:
        if set(upstream(later, recipe)) & set(found):
            found.append(later)
    return found[1:]
