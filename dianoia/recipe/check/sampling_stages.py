"""What stages that sample need besides models, looked up before any work: problems, judges, keys. No torch."""

from collections.abc import Mapping, Sequence

from dianoia.base.errors import ConfigError
from dianoia.base.records import Problem
from dianoia.config import EndpointSettings, PreferencesStage, SampleStage, path_of
from dianoia.datasets.llm_preferences import read_guideline
from dianoia.models.endpoint import endpoint_key
from dianoia.recipe.check.problem_sets_check import refuse_broken
from dianoia.tasks.catalog import problem_source
from dianoia.tasks.named_judges import RULES
from dianoia.tasks.problem_ranges import problem_range

_MINIATURE = "miniature/"


def check_sampling(where: str, stage: SampleStage) -> None:
    """Raise ConfigError or ProblemFileError, naming the table `where`, for what would stop the stage later."""
    _check_rewriter(where, stage)
    _check_keys(where, {"judge": stage.judge, "rewriter": stage.rewriter})
    problems = _problems(where, stage)
    ungraded = [problem.id for problem in problems if problem.verifier == "reference"]
    if ungraded and stage.judge is None and stage.keep.correct:
        raise ConfigError(
            f"{where}.problems = {stage.problems!r}: {len(ungraded)} of {len(problems)} problems, such as "
            f"{ungraded[0]!r}, have the verifier 'reference', which no rule can grade, so that their samples "
            "would all be rejected; add a judge (a table with url and model)"
        )


def check_judging(where: str, stage: PreferencesStage) -> None:
    """As `check_sampling`, for a `preferences` stage."""
    _check_keys(where, {"judge": stage.judge})
    problems = _problems(where, stage)
    try:
        if isinstance(stage.judge, EndpointSettings):
            read_guideline(stage.guideline)
        else:
            _check_rules(stage, stage.judge, problems)
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from None


def _check_rules(stage: PreferencesStage, judge: str, problems: Sequence[Problem]) -> None:
    """Rules know the miniature's questions, and of these only some."""
    known = RULES[judge].domains[stage.objective]
    strange = [problem.domain for problem in problems if problem.domain not in known]
    if strange or not path_of(stage.problems).startswith(_MINIATURE):
        raise ConfigError(
            f"judge = {judge!r} with problems = {stage.problems!r}: with objective = {stage.objective!r} its rules "
            f"judge the miniature's problems of {', '.join(sorted(known))} and no others"
            + (f" (here are some of {strange[0]})" if strange else "")
            + "; name a model behind an endpoint, "
            'judge = { url = "http://localhost:8000/v1", model = "..." }'
        )


def _problems(where: str, stage: SampleStage | PreferencesStage) -> list[Problem]:
    try:
        source = problem_source(stage.problems)
        found = problem_range(source, stage.first, stage.prompts)
        refuse_broken(source)
        return found
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from None


def _check_rewriter(where: str, stage: SampleStage) -> None:
    if stage.rewriter == "miniature" and not path_of(stage.problems).startswith(_MINIATURE):
        raise ConfigError(
            f'{where}.rewriter = "miniature" with problems = {stage.problems!r}: its rules read the thoughts '
            "of the miniature's models and would refuse all others; name a model behind an endpoint, "
            'rewriter = { url = "http://localhost:8000/v1", model = "..." }, or "none"'
        )


def _check_keys(where: str, asked: Mapping[str, object]) -> None:
    for name, settings in asked.items():
        if isinstance(settings, EndpointSettings):
            try:
                endpoint_key(settings)
            except ConfigError as error:
                raise ConfigError(f"{where}.{name}.{error}") from None
