"""What stages that sample need besides models, looked up before any work: problems, judges, keys. No torch."""

from collections.abc import Iterable, Mapping, Sequence

from dianoia.base.errors import ConfigError, nearest
from dianoia.base.records import Problem
from dianoia.config import EndpointSettings, PreferencesStage, Problems, SampleStage, path_of
from dianoia.datasets.llm_preferences import read_guideline
from dianoia.models.endpoint import endpoint_key
from dianoia.recipe.check.problem_sets_check import refuse_broken
from dianoia.tasks.catalog import problem_source
from dianoia.tasks.plugins import PREFERENCE_RULES, REWRITERS, plugin_name
from dianoia.tasks.problem_ranges import problem_range


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
    """Refuse unknown rules, and problems that the rules do not know: those of other plugins, and some of their own."""
    if judge not in PREFERENCE_RULES:
        raise ConfigError(
            f"judge = {judge!r}: there are no such rules{nearest(judge, PREFERENCE_RULES)}; use "
            f"{_listed(PREFERENCE_RULES)}, or name a model behind an endpoint, "
            'judge = { url = "http://localhost:8000/v1", model = "..." }'
        )
    known = PREFERENCE_RULES[judge].domains[stage.objective]
    strange = [problem.domain for problem in problems if problem.domain not in known]
    if strange or not _is_of(stage.problems, judge):
        raise ConfigError(
            f"judge = {judge!r} with problems = {stage.problems!r}: with objective = {stage.objective!r} its rules "
            f"judge problems of {plugin_name(judge)}/... of the domains {', '.join(sorted(known))} and no others"
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
    rewriter = stage.rewriter
    if isinstance(rewriter, EndpointSettings) or rewriter == "none":
        return
    others = 'a model behind an endpoint, rewriter = { url = "http://localhost:8000/v1", model = "..." }, or "none"'
    if rewriter not in REWRITERS:
        raise ConfigError(
            f"{where}.rewriter = {rewriter!r}: there is no such rewriter{nearest(rewriter, REWRITERS)}; use "
            f"{_listed(REWRITERS)}, {others}"
        )
    if not _is_of(stage.problems, rewriter):
        raise ConfigError(
            f"{where}.rewriter = {rewriter!r} with problems = {stage.problems!r}: its rules read thoughts about "
            f"problems of {plugin_name(rewriter)}/... and would refuse all others; name {others}"
        )


def _is_of(problems: Problems, rules: str) -> bool:
    """Return True if a problem set comes from the same plugin as the rules."""
    return path_of(problems).startswith(f"{plugin_name(rules)}/")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _check_keys(where: str, asked: Mapping[str, object]) -> None:
    for name, settings in asked.items():
        if isinstance(settings, EndpointSettings):
            try:
                endpoint_key(settings)
            except ConfigError as error:
                raise ConfigError(f"{where}.{name}.{error}") from None
