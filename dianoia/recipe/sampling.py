"""What a `sample` stage needs besides a model, looked up before any work: problems, graders, keys. No torch."""

from collections.abc import Mapping

from dianoia.base.config import EndpointSettings, SampleStage
from dianoia.base.errors import ConfigError
from dianoia.runtime.endpoint import endpoint_key
from dianoia.tasks.catalog import problem_source
from dianoia.tasks.ranges import problem_range

_MINIATURE = "miniature/"


def check_sampling(where: str, stage: SampleStage) -> None:
    """Raise ConfigError or ProblemFileError, naming the table `where`, for what would stop the stage later."""
    _check_rewriter(where, stage)
    _check_keys(where, stage)
    try:
        problems = problem_range(problem_source(stage.problems), stage.first, stage.prompts)
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from None
    ungraded = [problem.id for problem in problems if problem.verifier == "reference"]
    if ungraded and stage.judge is None and stage.keep.correct:
        raise ConfigError(
            f"{where}.problems = {stage.problems!r}: {len(ungraded)} of {len(problems)} problems, such as "
            f"{ungraded[0]!r}, have the verifier 'reference', which no rule can grade, so that their samples "
            "would all be rejected; add a judge (a table with url and model)"
        )


def _check_rewriter(where: str, stage: SampleStage) -> None:
    if stage.rewriter == "miniature" and not stage.problems.startswith(_MINIATURE):
        raise ConfigError(
            f'{where}.rewriter = "miniature" with problems = {stage.problems!r}: its rules read the thoughts '
            "of the miniature's models and would refuse all others; name a model behind an endpoint, "
            'rewriter = { url = "http://localhost:8000/v1", model = "..." }, or "none"'
        )


def _check_keys(where: str, stage: SampleStage) -> None:
    asked: Mapping[str, object] = {"judge": stage.judge, "rewriter": stage.rewriter}
    for name, settings in asked.items():
        if isinstance(settings, EndpointSettings):
            try:
                endpoint_key(settings)
            except ConfigError as error:
                raise ConfigError(f"{where}.{name}.{error}") from None
