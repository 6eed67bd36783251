"""Fills in the templates that a recipe leaves to its checkpoints: a stage without `template` asks as its model was trained.

In: a validated recipe. Out: the recipe with a template in every stage that samples or trains a language model, and for each
that was taken from a checkpoint the words that say so. A checkpoint carries its template in `config.json`
(`text.template.TEMPLATE_RECORD`); an earlier stage of the recipe has the template of its table. A model without a record, such
as a base model, gets `DEFAULT`. No torch, and no model is loaded.

A template of another recipe's own comes into `templates` under its name; where this recipe has another one of that name,
under the name of the checkpoint too.
"""

from collections.abc import Mapping
from typing import Any

from dianoia.base.errors import ModelError
from dianoia.config import (
    EvaluateStage,
    RLStage,
    SampleStage,
    SFTStage,
    TemplateSettings,
)
from dianoia.models.hub_config import model_config
from dianoia.recipe.graph import Recipe, Stage
from dianoia.text.template import DEFAULT, TEMPLATES, checkpoint_template, template_of


def inherit_templates(recipe: Recipe) -> Recipe:
    """Return the recipe with every template named. Raises ModelError for a checkpoint with a damaged record."""
    names = _Names(recipe)
    stages = {name: names.fill(name, stage) for name, stage in recipe.stages.items()}
    return recipe.with_templates(stages, names.tables, names.notes)


class _Names:
    """The names of templates, stage by stage in the order of the recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self.tables: dict[str, TemplateSettings] = dict(recipe.templates)
        self.notes: dict[str, str] = {}
        self._recipe = recipe
        self._of_stage: dict[str, str] = {}
        """The template of each earlier stage that trains a language model under one."""

    def fill(self, name: str, stage: Stage) -> Stage:
        """Return the stage with its template."""
        if isinstance(stage, EvaluateStage):
            return self._fill_evaluation(name, stage)
        if not isinstance(stage, RLStage | SFTStage | SampleStage):
            return stage
        template = stage.template
        if template is None:
            inherited = self._template_of(name, stage.start)
            template = inherited or DEFAULT
            if inherited is not None:
                self.notes[name] = f"template {inherited}, from {self._title(stage.start)}"
            stage = stage.model_copy(update={"template": template})
        # A sample stage trains nothing, so that no later stage inherits its template.
        if not isinstance(stage, SampleStage):
            self._of_stage[name] = template
        return stage

    def _fill_evaluation(self, name: str, stage: EvaluateStage) -> EvaluateStage:
        inherited: dict[str, list[str]] = {}
        template_names: dict[str, str] = {}
        for checkpoint in stage.checkpoints:
            template = stage.template_of(checkpoint)
            if template is None:
                template = self._template_of(name, checkpoint)
                if template is not None:
                    inherited.setdefault(template, []).append(self._title(checkpoint))
            template_names[checkpoint] = template or DEFAULT
        if inherited:
            parts = (f"{key}, from {', '.join(titles)}" for key, titles in inherited.items())
            self.notes[name] = f"template {'; '.join(parts)}"
        # One name where one is enough, as a person would write it.
        (first, *others) = dict.fromkeys(template_names.values())
        return stage.model_copy(update={"template": template_names if others else first})

    def _template_of(self, stage: str, source: str) -> str | None:
        """Return the name of the template that a model was trained under; None if it says nothing."""
        if source in self._recipe.stages:
            # None for a stage that trains under no template, such as pretraining.
            return self._of_stage.get(source)
        try:
            config: Mapping[str, Any] = model_config(f"stages.{stage}", source)
        except ModelError:
            return None  # the check of the inputs says what is wrong with the model
        template = checkpoint_template(source, config)
        if template is None:
            return None
        name = template.name
        if name not in TEMPLATES and name not in self.tables:
            self.tables[name] = template.settings()
        # One name means one template.
        if template_of(name, self.tables) != template:
            name = f"{name} of {source}"
            self.tables[name] = template.settings()
        return name

    def _title(self, source: str) -> str:
        return source if source in self._recipe.stages else f"the checkpoint {source}"
