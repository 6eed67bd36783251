"""`Recipe`: named stages in the order in which they run, and which stage reads which.

In: the validated tables of `dianoia.config`. Out: the recipe, and for each stage its checkpoints, data sets, reward models,
problem sets and other files by name. Left out: whether these exist (`recipe.check`) and TOML (`recipe.load`).
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

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
    TemplateSettings,
    TrackSettings,
    path_of,
)
from dianoia.text.template import DEFAULT, TEMPLATES

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


# Tables are frozen: a changed recipe is a new `Recipe`, so that stages can share it between threads and processes.
class Recipe(Settings):
    """A graph of stages. Stages run in the order of the file and may read the outputs of earlier ones."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    """Names the run directory: `runs/NAME`. Small letters, digits, `.`, `_` and `-`."""
    description: str = ""
    """One line about the recipe, shown in the report."""
    seed: int = Field(default=1, ge=0)
    """Every random draw of the run derives from it."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of PyTorch. 0: one per core, at most 8."""
    sandbox: Literal["auto", "namespaces", "landlock", "i-accept-unsandboxed-code"] = "auto"
    """Sandbox for programs that a model wrote. auto: the strongest that this machine offers."""
    # `data` stands above `stages`, because the validator of the stages reads it.
    data: dict[str, DataSettings] = Field(default={})
    """Problem sets by name, for `problems` of the stages."""
    templates: dict[str, TemplateSettings] = Field(default={})
    """Templates of the recipe's own by name, for `template` of the stages."""
    stages: dict[str, Stage] = Field(min_length=1)
    claims: ClaimsSettings = ClaimsSettings()
    """Which checkpoint plays which part of the paper."""
    track: TrackSettings = TrackSettings()
    """Which trackers follow the run."""
    _inherited_templates: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def inherited_templates(self) -> Mapping[str, str]:
        """A clause per stage whose template was taken from a checkpoint, see `recipe.templates`."""
        return self._inherited_templates

    def with_templates(
        self,
        stages: Mapping[str, "Stage"],
        tables: Mapping[str, TemplateSettings],
        inherited: Mapping[str, str],
    ) -> "Recipe":
        """Return the recipe with these stages and templates, and the clauses of `inherited_templates`."""
        recipe = self.model_copy(update={"stages": stages, "templates": tables})
        recipe._inherited_templates = dict(inherited)
        return recipe

    @model_validator(mode="after")
    def _check_stage_names(self) -> Self:
        """Refuse names that cannot be folder names: a stage writes to `stages/NAME`."""
        for name in self.stages:
            if not re.fullmatch(_STAGE_NAME, name):
                raise ValueError(
                    f"stages.{name}: the name of a stage is that of its folder, so it holds letters, digits, '.', "
                    "'_' and '-' only, and begins with a letter or a digit; rename it"
                )
        return self

    @field_validator("stages")
    @classmethod
    def _resolve_data_tables(
        cls, stages: dict[str, Stage], info: ValidationInfo
    ) -> dict[str, Stage]:
        """Return the stages with the `[data]` table in place of each name of one."""
        tables: dict[str, DataSettings] = info.data.get(
            "data", {}
        )  # absent if it is invalid itself
        resolved = {name: _with_tables(stage, tables) for name, stage in stages.items()}
        # A table that nothing names is nearly always a typo in the name.
        unused = set(tables).difference(*(used for _, used in resolved.values()))
        if unused:
            raise ValueError(
                f"data.{min(unused)}: no stage names this table; name it in the problems of a stage, or under "
                "decontaminate of a table that a stage names, or remove it"
            )
        return {name: stage for name, (stage, _) in resolved.items()}

    @model_validator(mode="after")
    def _check_templates(self) -> Self:
        """Refuse a template with the name of a built-in one, and one that no stage names."""
        used = {name for stage in self.stages.values() for name in templates(stage)}
        for name in self.templates:
            if name in TEMPLATES:
                raise ValueError(
                    f"templates.{name}: there is a built-in template of this name, and one name means one template in "
                    "every recipe and report; rename the table"
                )
            if name not in used:
                raise ValueError(
                    f"templates.{name}: no stage names this table{nearest(name, used)}; name it as template of a stage, "
                    "or remove it"
                )
        return self

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        """Refuse a stage that reads a later stage or itself."""
        earlier: set[str] = set()
        for name, stage in self.stages.items():
            # Names that are no stages are built-in sets, files, folders or hub names, which `recipe.check` looks up.
            for source in [*sources(stage), *datasets(stage), *reward_models(stage).values()]:
                if source in self.stages and source not in earlier:
                    raise ValueError(
                        f"stages.{name} uses stages.{source}, which comes after it (or is itself); "
                        "a stage can only use earlier ones, so move it up"
                    )
            earlier.add(name)
        return self

    @model_validator(mode="after")
    def _check_repeated_evaluations(self) -> Self:
        """Refuse two evaluations of one checkpoint on the same problems under one template.

        On other problems it may be evaluated again; for a domain that both have, the later stage counts.
        """
        stage_of: dict[tuple[str, str, str], str] = {}
        for name, stage in self.stages.items():
            if not isinstance(stage, EvaluateStage):
                continue
            for checkpoint in stage.checkpoints:
                # `repr`, because a problem set may be a table, which has no hash.
                template = stage.template_of(checkpoint) or DEFAULT
                key = (checkpoint, repr(stage.problems), template)
                # The first stage of a key gets its own name back, so that only a second one differs.
                first = stage_of.setdefault(key, name)
                if first != name:
                    raise ValueError(
                        f"{checkpoint!r} is evaluated twice on problems = {stage.problems!r}, in stages.{first} and "
                        f"stages.{name}; results.json has one entry for it, so name it once, or give the stages different "
                        "templates"
                    )
        return self

    @model_validator(mode="after")
    def _check_claims(self) -> Self:
        """Refuse a claim about a model that no stage trains or evaluates."""
        evaluated = [
            checkpoint
            for stage in self.stages.values()
            if isinstance(stage, EvaluateStage)
            for checkpoint in stage.checkpoints
        ]
        trained = [name for name, stage in self.stages.items() if stage.kind in MODEL_KINDS]
        models = list(dict.fromkeys([*trained, *evaluated]))
        for part, name in self.claims.parts.items():
            if name not in models:
                raise ValueError(
                    f"claims.{part} = {name!r}: no stage of this recipe trains or evaluates such a model"
                    f"{nearest(name, models)}; there are {', '.join(models) or 'none'}"
                )
        # This claim needs the held-out curve of a training, which only an rl stage has.
        overoptimized = self.claims.overoptimized
        if overoptimized is not None and not isinstance(self.stages.get(overoptimized), RLStage):
            raise ValueError(
                f"claims.overoptimized = {overoptimized!r} is no stage of kind 'rl', and the claim is about "
                "the curve of one; name the stage that trains under the helpful reward model"
            )
        return self


def _with_tables(stage: Stage, data: Mapping[str, DataSettings]) -> tuple[Stage, set[str]]:
    """Return the stage with tables in place of their names, and the names that it used."""
    used: set[str] = set()

    def table_of(problems: Problems | None) -> Problems | None:
        if isinstance(problems, str) and problems in data:
            used.add(problems)
            problems = data[problems]
        if not isinstance(problems, DataSettings):
            return problems
        used.update(name for name in map(path_of, problems.decontaminate) if name in data)
        tests = [
            _as_test_file(data[test]) if isinstance(test, str) and test in data else test
            for test in problems.decontaminate
        ]
        return problems.model_copy(update={"decontaminate": tests})

    # Fields of a stage that hold problem sets; a new one has to be added here and in `problem_sets`.
    update: dict[str, Any] = {}
    if isinstance(stage, RLStage | EvaluateStage | SampleStage | PreferencesStage):
        update["problems"] = table_of(stage.problems)
    if isinstance(stage, RLStage) and stage.preferences is not None:
        preferences = stage.preferences
        # General prompts, which reward models score.
        general_sets = {
            "problems": table_of(preferences.problems),
            "safety_problems": table_of(preferences.safety_problems),
        }
        update["preferences"] = preferences.model_copy(update=general_sets)
    # `model_copy` does not validate again: the tables were validated as part of `data`.
    return (stage.model_copy(update=update) if used else stage), used


def _as_test_file(data: DataSettings) -> FileSettings:
    """Return the rows of a table as tests for decontamination: all of them, whatever the table holds out."""
    return FileSettings.model_validate(data.model_dump(include=set(FileSettings.model_fields)))


# What a stage reads ------------------------------------------------------------------------------


def sources(stage: Stage) -> list[str]:
    """Return the checkpoints that a stage reads: names of stages, shipped models, folders or hub names."""
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
    """Return the data sets that a stage reads: names of stages, or files."""
    if isinstance(stage, RewardModelStage):
        return list(stage.data)
    if not isinstance(stage, SFTStage):
        return []
    paths = [dataset.path for dataset in stage.datasets]
    return paths if stage.evaluation_file is None else [*paths, stage.evaluation_file]


def reward_models(stage: Stage) -> dict[str, str]:
    """Return the reward models that a stage reads, by the name of their part of the reward.

    Each is the name of a stage, a folder or a hub name.
    """
    if not isinstance(stage, RLStage):
        return {}
    return {**general_models(stage), **{part.name: part.model for part in stage.rewards.models}}


def general_models(stage: RLStage) -> dict[str, str]:
    """Return the reward models that score general prompts, by their key in `preferences`."""
    if stage.preferences is None:
        return {}
    models = {"helpful": stage.preferences.helpful, "safety": stage.preferences.safety}
    return {key: source for key, source in models.items() if source is not None}


def templates(stage: Stage) -> list[str]:
    """Return the names of the templates that a stage names."""
    match stage:
        case PretrainStage():
            names: list[str | None] = []
        case SampleStage():
            names = [stage.template, stage.written_in]
        case EvaluateStage():
            names = [stage.template_of(checkpoint) for checkpoint in stage.checkpoints]
        case _:
            names = [stage.template]
    return [name for name in names if name is not None]


def own_templates(stage: Stage, recipe: Recipe) -> dict[str, TemplateSettings]:
    """Return the tables of the recipe's own templates that a stage uses, by name."""
    names = dict.fromkeys(templates(stage))
    return {name: recipe.templates[name] for name in names if name in recipe.templates}


def result_names(name: str, stages: Mapping[str, Stage]) -> dict[str, str]:
    """Return the name of each checkpoint of an evaluate stage in results.json, among all stages of its recipe.

    It is the checkpoint's own, but `NAME under TEMPLATE` where an earlier stage has evaluated it on the same problems under
    another template.
    """
    stage = stages[name]
    assert isinstance(stage, EvaluateStage), "only these have results"
    earlier = list(stages)[: list(stages).index(name)]
    ambiguous = {
        checkpoint
        for other in map(stages.__getitem__, earlier)
        if isinstance(other, EvaluateStage) and repr(other.problems) == repr(stage.problems)
        for checkpoint in other.checkpoints
        if other.template_of(checkpoint) != stage.template_of(checkpoint)
    }
    return {
        checkpoint: f"{checkpoint} under {stage.template_of(checkpoint)}"
        if checkpoint in ambiguous
        else checkpoint
        for checkpoint in stage.checkpoints
    }


def functions(stage: Stage) -> list[FunctionSettings]:
    """Return the reward functions that a stage calls."""
    return stage.rewards.functions if isinstance(stage, RLStage) else []


def problem_sets(stage: Stage) -> list[str | FileSettings]:
    """Return the problem sets that a stage reads, including those that it is decontaminated against."""
    match stage:
        case RLStage():
            preferences = stage.preferences
            general = (
                () if preferences is None else (preferences.problems, preferences.safety_problems)
            )
            direct: list[Problems] = [
                stage.problems,
                *(problems for problems in general if problems is not None),
            ]
        case PreferencesStage() | SampleStage() | EvaluateStage():
            direct = [stage.problems]
        case _:
            return []
    # Problems are removed from training if they share words with a test, so tests decide what is learned.
    tables = (problems for problems in direct if isinstance(problems, DataSettings))
    return [*direct, *(test for table in tables for test in table.decontaminate)]


def other_inputs(stage: Stage) -> list[str]:
    """Return what a stage reads besides checkpoints and data sets: problem sets, problem files, a guideline."""
    paths = [path_of(problems) for problems in problem_sets(stage)]
    if isinstance(stage, PreferencesStage) and stage.guideline:
        paths.append(stage.guideline)
    return paths


def reads(stage: Stage) -> list[str]:
    """Return everything that a stage reads, by name: stages, built-in sets, files, folders and hub names."""
    # A dictionary removes duplicates and keeps the order.
    scorers = reward_models(stage).values()
    return list(dict.fromkeys([*sources(stage), *scorers, *datasets(stage), *other_inputs(stage)]))


def upstream(name: str, recipe: Recipe) -> list[str]:
    """Return the earlier stages that a stage reads directly."""
    return [source for source in reads(recipe.stages[name]) if source in recipe.stages]


def dependents(name: str, recipe: Recipe) -> list[str]:
    """Return the stages that read a stage, directly or through others, in recipe order."""
    # One pass is enough, because a stage reads only earlier ones.
    stages = [name]
    for later in recipe.stages:
        if set(upstream(later, recipe)) & set(stages):
            stages.append(later)
    return stages[1:]
