"""What can be known of a stage's problems before it runs: how many it draws, and how long its prompts are. No torch.

In: a stage of a recipe whose inputs have been checked. Out: the number of problems, exact where drawing them takes no more
than a moment, and a mean length of prompts from a few of them. Not here: how long responses will be, which nobody knows.
"""

from collections.abc import Hashable, Sequence
from functools import lru_cache
from itertools import islice
from statistics import mean

from dianoia.config import (
    DemonstrationsStage,
    EvaluateStage,
    PreferencesStage,
    PretrainStage,
    RLStage,
    SampleStage,
)
from dianoia.recipe.check.missing_inputs import missing_files
from dianoia.recipe.check.training_data import tokens_per_character
from dianoia.recipe.graph import Recipe, sources, templates
from dianoia.recipe.plan.memory import PROMPT_TOKENS
from dianoia.tasks.catalog import FilesSource, problem_source, training_sample
from dianoia.tasks.data.large_files import LargeProblems
from dianoia.tasks.plugins import DEMONSTRATIONS, ProblemSource
from dianoia.tasks.problem_ranges import problem_range
from dianoia.text.template import Template, template_of

_COUNTED = 20_000
"""Most problems that are drawn to count them; for more, the number in the recipe stands for them."""
_SAMPLED = 64
"""Problems whose prompts are measured."""


def problem_count(
    stage: SampleStage | PreferencesStage | EvaluateStage, recipe: Recipe
) -> int | None:
    """Return how many problems a stage works on; None if their files are not here or they are too many to draw.

    A set may have fewer than the recipe asks for: repeated questions are left out, and a held-out side has an end.
    """
    limit = stage.limit if isinstance(stage, EvaluateStage) else stage.prompts
    if limit > _COUNTED or missing_files(stage, recipe):
        return None
    whole = isinstance(stage, EvaluateStage) and stage.whole_file
    source = problem_source(stage.problems, whole)
    # Rows of a large file are on the disk, where counting them takes minutes.
    if isinstance(source, LargeProblems):
        return None
    first = None if isinstance(stage, EvaluateStage) else stage.first
    # A plan asks for each count several times. A plugin's class may be without a hash.
    return (
        _remembered(source, first, limit)
        if isinstance(source, Hashable)
        else _count(source, first, limit)
    )


def _count(source: ProblemSource, first: int | None, limit: int) -> int:
    """Draw problems and return how many there are: held-out ones, or the range that begins at `first`."""
    problems = source.heldout(limit) if first is None else problem_range(source, first, limit)
    return len(problems)


# Sources of files are new objects once their files have changed.
_remembered = lru_cache(maxsize=32)(_count)


def prompt_tokens(
    stage: RLStage | SampleStage | PreferencesStage | EvaluateStage, recipe: Recipe
) -> float:
    """Return the mean tokens of a prompt, measured on a few problems under the stage's template.

    With the tokenizer of the model that the stage descends from if it is on this machine, else by characters. A file that
    is not here counts as prompts of `PROMPT_TOKENS`.
    """
    if missing_files(stage, recipe):
        return PROMPT_TOKENS
    whole = isinstance(stage, EvaluateStage) and stage.whole_file
    source = problem_source(stage.problems, whole)
    # Those of an evaluation, one per checkpoint, count as one of their mean length.
    names: list[str | None] = [*templates(stage)]
    used = tuple(template_of(name, recipe.templates) for name in names or [None])
    return _prompt_tokens(source, whole, used, _first_model(sources(stage)[0], recipe))


def _prompt_tokens(
    source: ProblemSource, whole: bool, used: Sequence[Template], model: str
) -> float:
    problems = source.heldout(_SAMPLED) if whole else training_sample(source)
    # Evenly spread: the beginning of a set may be unlike the rest, such as its easy problems.
    questions = [problem.question for problem in problems[:: max(1, len(problems) // _SAMPLED)]]
    if not questions:
        return PROMPT_TOKENS
    texts = tuple(t.render(q, system=t.system) for t in used for q in questions)
    # The summary of a file has the lengths of all its questions, of which the texts are a sample.
    if isinstance(source, FilesSource) and source.summary.lengths and not whole:
        frame = mean(len(template.render("", system=template.system)) for template in used)
        characters = frame + mean(source.summary.lengths)
    else:
        characters = mean(map(len, texts))
    return characters * tokens_per_character(model, texts)


def demonstration_tokens(stage: DemonstrationsStage, model: str, recipe: Recipe) -> float:
    """Return the mean tokens of a demonstration, prompt included, under the tokenizer of a model that learns from it."""
    template = template_of(stage.template, recipe.templates)
    first = islice(DEMONSTRATIONS[stage.source](recipe.seed), _SAMPLED)
    texts = tuple(
        template.render(problem.question, system=template.system) + template.whole(thought, summary)
        for problem, thought, summary in first
    )
    if not texts:
        return 2.0 * PROMPT_TOKENS
    return mean(map(len, texts)) * tokens_per_character(_first_model(model, recipe), texts)


def _first_model(name: str, recipe: Recipe) -> str:
    """Return the model from outside the recipe that a checkpoint descends from; empty if the recipe makes it itself."""
    while name in recipe.stages:
        stage = recipe.stages[name]
        if isinstance(stage, PretrainStage):
            return stage.tokenizer or ""
        name = next(iter(sources(stage)), "")
    return name
