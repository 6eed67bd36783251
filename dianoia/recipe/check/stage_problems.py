"""Checks the problems of `rl`, `evaluate`, `sample` and `preferences` stages before any work. No torch.

In: a stage's table and the run's seed. Out: nothing, or a refusal in the words of the recipe. Small files are read
completely. Of large ones (`tasks.data.large_files`), rows from all over the file are read and the first rows that the run
will draw; of a built-in set, which may be endless, the beginning. Also checked here: the judges and rewriters that the
problems need.
"""

from collections.abc import Iterable, Mapping, Sequence

from dianoia.base.errors import ConfigError, ProblemFileError, nearest
from dianoia.base.records import Problem, Turn
from dianoia.config import (
    EndpointSettings,
    EvaluateStage,
    PreferenceSettings,
    PreferencesStage,
    Problems,
    RLStage,
    SampleStage,
    path_of,
)
from dianoia.datasets.llm_preferences import read_guideline
from dianoia.models.endpoint import endpoint_key
from dianoia.tasks.catalog import (
    FilesSource,
    general_source,
    problem_source,
    training_sample,
)
from dianoia.tasks.plugins import PREFERENCE_RULES, REWRITERS, ProblemSource, plugin_name
from dianoia.tasks.problem_ranges import problem_range
from dianoia.text.language import check_measurable

_UNGRADED = "reference"
"""The verifier of problems that no rule can grade."""
_ENDPOINT_EXAMPLE = '{ url = "http://localhost:8000/v1", model = "..." }'


# Stages that train on and evaluate problems ------------------------------------------------------


def check_rl_problems(name: str, stage: RLStage, seed: int) -> None:
    """Raise ConfigError or ProblemFileError for problems that would stop the stage or teach it nothing."""
    source = _source(name, stage.problems)
    where = f"stages.{name}.problems = {stage.problems!r}"
    if isinstance(source, FilesSource):
        # Check the very rows that the run will draw: broken ones would stop it after hours.
        source.check(seed, stage.rollout_count * stage.problems_per_rollout)
    # With an LLM grader, problems that no rule can grade are allowed, and expected.
    grader = stage.rewards.judge
    if grader is None:
        _check_gradable(where, training_sample(source))
    elif grader.grades == _UNGRADED:
        _check_grader_is_used(name, training_sample(source))
    _check_languages(name, stage, source, stage.problems)
    if stage.progress.problems:
        # The held-out curve is graded by rules alone, unless there is a grader.
        heldout = source.heldout(stage.progress.problems)
        if grader is None:
            _check_gradable(where, heldout)
        _refuse_broken_rows(source)
    if stage.preferences is not None:
        _check_general_prompts(name, stage, stage.preferences)


def check_evaluation_problems(name: str, stage: EvaluateStage) -> None:
    """Raise ConfigError or ProblemFileError for problems on which accuracy cannot be measured."""
    source = _source(name, stage.problems, stage.whole_file)
    where = f"stages.{name}.problems = {stage.problems!r}"
    _check_gradable(where, source.heldout(stage.limit))
    _refuse_broken_rows(source)


def _source(name: str, problems: Problems, whole_file: bool = False) -> ProblemSource:
    try:
        return problem_source(problems, whole_file)
    except ConfigError as error:
        raise ConfigError(f"stages.{name}.{error}") from None


def _refuse_broken_rows(source: ProblemSource) -> None:
    """Raise ProblemFileError for the first row so far that cannot be used; a run would only leave it out."""
    for message in source.new_warnings() if isinstance(source, FilesSource) else ():
        raise ProblemFileError(message)


def _check_gradable(where: str, problems: Sequence[Problem]) -> None:
    """Raise ConfigError for problems that no rule can grade: they have no accuracy."""
    ungraded = [problem.id for problem in problems if problem.verifier == _UNGRADED]
    if ungraded:
        raise ConfigError(
            f"{where}: {len(ungraded)} of {len(problems)} problems, such as {ungraded[0]!r}, have the verifier "
            f"{_UNGRADED!r}, which no rule can grade, so that they would have no accuracy; leave them out, name "
            "another verifier in the column 'verifier', or, in an rl stage, add rewards.judge, a model that grades them, or "
            "name them under preferences, where a reward model scores them"
        )


def _check_grader_is_used(name: str, problems: Sequence[Problem]) -> None:
    """Raise ConfigError for a grader that would never be called: that is hardly what was meant."""
    if not any(problem.verifier == _UNGRADED for problem in problems):
        raise ConfigError(
            f'stages.{name}.rewards.judge with grades = "reference": none of the {len(problems)} problems has the '
            f"verifier {_UNGRADED!r}, so that the judge would never be called; give problems that verifier, set "
            'grades = "all", or remove the judge'
        )


def _check_languages(name: str, stage: RLStage, source: ProblemSource, problems: Problems) -> None:
    """Raise ConfigError if a language reward has a target language that cannot be identified."""
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


def _check_general_prompts(name: str, stage: RLStage, preferences: PreferenceSettings) -> None:
    """Check the sets of general prompts.

    Each can be read and has held-out prompts, its languages can be measured, and no prompt is in both.
    """
    set_of: dict[tuple[Turn, ...], str] = {}
    for key, problems in (
        ("problems", preferences.problems),
        ("safety_problems", preferences.safety_problems),
    ):
        if problems is None:
            continue
        where = f"stages.{name}.preferences"
        try:
            source = general_source(problems, key)
        except ConfigError as error:
            raise ConfigError(f"{where}.{error}") from None
        # By question and the turns before it, since ids are unique only within a set.
        prompts = {problem.messages for problem in training_sample(source)}
        repeated = sorted(prompt[-1].text for prompt in prompts if prompt in set_of)
        if repeated:
            raise ConfigError(
                f"{where}: {len(repeated)} prompts, such as {repeated[0][:80]!r}, are both in problems = "
                f"{preferences.problems!r} and in safety_problems = {problems!r}; each general prompt belongs to "
                "exactly one set, since two reward models would score it by different standards; take them out of one of "
                "the two"
            )
        set_of |= dict.fromkeys(prompts, key)
        _check_languages(name, stage, source, problems)
        if stage.progress.problems:
            # Raises if the set has no held-out prompt to draw the curve on.
            source.heldout(1)


# Stages that sample ------------------------------------------------------------------------------


def check_sampled_problems(name: str, stage: SampleStage) -> None:
    """Raise ConfigError or ProblemFileError for problems, a judge or a rewriter that would stop the stage later."""
    where = f"stages.{name}"
    # Cheap checks before the problems are read.
    _check_rewriter(where, stage)
    _check_keys(where, {"judge": stage.judge, "rewriter": stage.rewriter})
    problems = _drawn_problems(where, stage)
    ungraded = [problem.id for problem in problems if problem.verifier == _UNGRADED]
    if ungraded and stage.judge is None and stage.keep.correct:
        raise ConfigError(
            f"{where}.problems = {stage.problems!r}: {len(ungraded)} of {len(problems)} problems, such as "
            f"{ungraded[0]!r}, have the verifier {_UNGRADED!r}, which no rule can grade, so that their samples "
            "would all be rejected; add a judge (a table with url and model)"
        )


def check_judged_problems(name: str, stage: PreferencesStage) -> None:
    """Raise ConfigError or ProblemFileError for problems, a judge or a guideline that would stop the stage later."""
    where = f"stages.{name}"
    _check_keys(where, {"judge": stage.judge})
    problems = _drawn_problems(where, stage)
    try:
        # An LLM judge needs a guideline; rules have their own.
        if isinstance(stage.judge, EndpointSettings):
            read_guideline(stage.guideline)
        else:
            _check_preference_rules(stage, stage.judge, problems)
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from None


def _check_preference_rules(
    stage: PreferencesStage, judge: str, problems: Sequence[Problem]
) -> None:
    """Raise ConfigError for unknown rules, and for problems that they do not know.

    Rules know some domains of the problem sets of their own plugin.
    """
    if judge not in PREFERENCE_RULES:
        raise ConfigError(
            f"judge = {judge!r}: there are no such rules{nearest(judge, PREFERENCE_RULES)}; there are "
            f"{_listed(PREFERENCE_RULES)}; or name a model behind an endpoint, judge = {_ENDPOINT_EXAMPLE}"
        )
    # Rules cover different domains for pairs and for labels.
    domains = PREFERENCE_RULES[judge].domains[stage.objective]
    unknown = [problem.domain for problem in problems if problem.domain not in domains]
    if unknown or not _same_plugin(stage.problems, judge):
        raise ConfigError(
            f"judge = {judge!r} with problems = {stage.problems!r}: with objective = {stage.objective!r} its rules "
            f"judge problems of {plugin_name(judge)}/... of the domains {', '.join(sorted(domains))} and no others"
            + (f" (here are some of {unknown[0]})" if unknown else "")
            + f"; name a model behind an endpoint, judge = {_ENDPOINT_EXAMPLE}"
        )


def _drawn_problems(where: str, stage: SampleStage | PreferencesStage) -> list[Problem]:
    """Return the problems that the stage will sample from."""
    try:
        source = problem_source(stage.problems)
        # The stage draws exactly this range, so all of its problems are known before it starts.
        problems = problem_range(source, stage.first, stage.prompts)
        _refuse_broken_rows(source)
        return problems
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from None


def _check_rewriter(where: str, stage: SampleStage) -> None:
    """Raise ConfigError for an unknown rewriter, and for problems whose thoughts its rules cannot read."""
    rewriter = stage.rewriter
    if isinstance(rewriter, EndpointSettings) or rewriter == "none":
        return
    alternatives = f'a model behind an endpoint, rewriter = {_ENDPOINT_EXAMPLE}, or "none"'
    if rewriter not in REWRITERS:
        raise ConfigError(
            f"{where}.rewriter = {rewriter!r}: there is no such rewriter{nearest(rewriter, REWRITERS)}; there are "
            f"{_listed(REWRITERS)}; or name {alternatives}"
        )
    if not _same_plugin(stage.problems, rewriter):
        raise ConfigError(
            f"{where}.rewriter = {rewriter!r} with problems = {stage.problems!r}: its rules read thoughts about "
            f"problems of {plugin_name(rewriter)}/... and would refuse all others; name {alternatives}"
        )


def _same_plugin(problems: Problems, rules: str) -> bool:
    """Return True if a problem set comes from the same plugin as the rules."""
    return path_of(problems).startswith(f"{plugin_name(rules)}/")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _check_keys(where: str, endpoints: Mapping[str, object]) -> None:
    """Raise ConfigError for an endpoint whose API key is not in the environment."""
    for key, settings in endpoints.items():
        if isinstance(settings, EndpointSettings):
            try:
                endpoint_key(settings)
            except ConfigError as error:
                raise ConfigError(f"{where}.{key}.{error}") from None
