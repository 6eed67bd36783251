"""The problems of `rl` and `evaluate` stages, looked up and looked through before any work. No torch.

In: a stage's table and the run's seed. Out: nothing, or a refusal in the words of the recipe. Files are read from the
first row to the last; of larger ones (`tasks.data.large_files`) rows from all over them and the first ones that the run
will draw, of a built-in set, which may be endless, the beginning.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from dianoia.base.errors import ConfigError, ProblemFileError
from dianoia.base.records import Problem
from dianoia.config import (
    EvaluateStage,
    PreferenceSettings,
    PreferencesStage,
    Problems,
    RLStage,
    SampleStage,
    SFTStage,
)
from dianoia.recipe.graph import Stage
from dianoia.tasks.catalog import (
    FilesSource,
    general_source,
    looked_at,
    problem_source,
)
from dianoia.tasks.conversation_files import read_conversations
from dianoia.tasks.data.set_summary import told
from dianoia.tasks.plugins import ProblemSource
from dianoia.text.language import check_measurable
from dianoia.text.template import TEMPLATES
from dianoia.text.template_fit import CODE, Fit

_UNGRADED = "reference"
"""The verifier of problems that no rule can grade."""
_READ = 256
"""Rows of each file of demonstrations that a plan holds against the template."""


def check_problems(name: str, stage: RLStage | EvaluateStage, seed: int) -> None:
    """Raise ConfigError or ProblemFileError for problems that would stop the stage, or teach it nothing."""
    try:
        if isinstance(stage, EvaluateStage):
            source = problem_source(stage.problems, stage.whole_file)
        else:
            source = problem_source(stage.problems)
    except ConfigError as error:
        raise ConfigError(f"stages.{name}.{error}") from None
    where = f"stages.{name}.problems = {stage.problems!r}"
    if isinstance(stage, EvaluateStage):
        _check_graded(where, source.heldout(stage.limit))
        refuse_broken(source)
        return
    if isinstance(source, FilesSource):
        source.check(seed, stage.rollouts * stage.problems_per_rollout)
    if stage.rewards.judge is None:
        _check_graded(where, looked_at(source))
    elif stage.rewards.judge.grades == _UNGRADED:
        _check_asked(name, looked_at(source))
    _check_languages(name, stage, source, stage.problems)
    if stage.progress.problems:
        held = source.heldout(stage.progress.problems)
        if stage.rewards.judge is None:
            _check_graded(where, held)
        refuse_broken(source)
    if stage.preferences is not None:
        _check_general(name, stage, stage.preferences)


def refuse_broken(source: ProblemSource) -> None:
    """Raise ProblemFileError where a row of those read so far cannot be used: before a run it is no small matter."""
    for line in source.news() if isinstance(source, FilesSource) else ():
        raise ProblemFileError(line)


def told_problems(stage: Stage) -> list[str]:
    """What a person wants to know of the files of problems or demonstrations that a stage reads, in sentences."""
    match stage:
        case EvaluateStage():
            found = [problem_source(stage.problems, stage.whole_file)]
        case SampleStage() | PreferencesStage():
            found = [problem_source(stage.problems)]
        case RLStage():
            chosen = stage.preferences
            general = () if chosen is None else (chosen.problems, chosen.safety_problems)
            found = [
                problem_source(stage.problems),
                *(general_source(one) for one in general if one),
            ]
        case SFTStage():
            return _told_template(stage)
        case _:
            found = []
    return [line for one in found if isinstance(one, FilesSource) for line in told(one.summary)]


def _told_template(stage: SFTStage) -> list[str]:
    """That the responses of files do not fit the template, by the first of each; the stage itself looks at all."""
    fit = Fit(TEMPLATES[stage.template])
    for dataset in stage.datasets:
        path = Path(dataset.path).expanduser()
        for conversation in islice(read_conversations(path), _READ) if path.is_file() else ():
            fit.add(conversation)
    misfit = fit.misfit()
    files = ", ".join(dataset.path for dataset in stage.datasets)
    return [] if misfit is None else [f"{files}: WARNING: {CODE}: {misfit[0]}. {misfit[1]}."]


def _check_graded(where: str, problems: Sequence[Problem]) -> None:
    """What no rule can grade has no accuracy, so that nobody could be right."""
    ungraded = [problem.id for problem in problems if problem.verifier == _UNGRADED]
    if ungraded:
        raise ConfigError(
            f"{where}: {len(ungraded)} of {len(problems)} problems, such as {ungraded[0]!r}, have the verifier "
            f"{_UNGRADED!r}, which no rule can grade, so that they would have no accuracy; leave them out, name "
            "another verifier in the column 'verifier', or, in an rl stage, add rewards.judge, a model that grades them, or "
            "name them under preferences, where a reward model scores them"
        )


def _check_asked(name: str, problems: Sequence[Problem]) -> None:
    """A judge that nobody asks was meant otherwise."""
    if not any(problem.verifier == _UNGRADED for problem in problems):
        raise ConfigError(
            f'stages.{name}.rewards.judge with grades = "reference": none of the {len(problems)} problems has the '
            f"verifier {_UNGRADED!r}, so that the judge would never be asked; give problems that verifier, set "
            'grades = "all", or remove the judge'
        )


def _check_languages(name: str, stage: RLStage, source: ProblemSource, problems: Problems) -> None:
    """A language reward needs targets that can be told from other languages."""
    if not stage.rewards.language:
        return
    for language in sorted(source.languages):
        try:
            check_measurable(language)
        except ConfigError as error:
            raise ConfigError(
                f"stages.{name}.rewards.language = {stage.rewards.language:g}: questions of "
                f"{problems!r} are in {language!r}. {error}"
            ) from None


def _check_general(name: str, stage: RLStage, chosen: PreferenceSettings) -> None:
    """General prompts: found, held out in part, in languages that can be measured, each in one set."""
    seen: dict[str, str] = {}
    for key, problems in (
        ("problems", chosen.problems),
        ("safety_problems", chosen.safety_problems),
    ):
        if problems is None:
            continue
        where = f"stages.{name}.preferences"
        try:
            source = general_source(problems, key)
        except ConfigError as error:
            raise ConfigError(f"{where}.{error}") from None
        questions = {problem.question for problem in looked_at(source)}
        twice = sorted(question for question in questions if question in seen)
        if twice:
            raise ConfigError(
                f"{where}: {len(twice)} prompts, such as {twice[0][:80]!r}, are both in problems = "
                f"{chosen.problems!r} and in safety_problems = {problems!r}; each general prompt belongs to "
                "exactly one set, since two models would pull at it; take them out of one of the two"
            )
        seen |= dict.fromkeys(questions, key)
        _check_languages(name, stage, source, problems)
        if stage.progress.problems:
            source.heldout(1)
