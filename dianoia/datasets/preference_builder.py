"""From responses to judged data: pairs with verdicts, or responses with labels.

In: the responses to some problems, of all checkpoints. Out: rows for reward models, and the responses with the
reason for which one is in no row. What is judged follows from who learns it (section 3.1): pairs are compared by
what follows the thought, safety is judged by everything. The response that is written down is whole in either case.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from dianoia.base.preference_records import BatchJudge, Comparison, Judge
from dianoia.base.records import Problem, Rollout, RolloutStatus
from dianoia.config import PreferencesStage
from dianoia.datasets.pairs import label_of
from dianoia.datasets.response_verdicts import Unjudged, draw_pairs, first_of_each
from dianoia.storage.preference_table import Response
from dianoia.text.template import TEMPLATES
from dianoia.text.visible import Sees, visible_part, whole_response

Rows = list[dict[str, Any]]
_REASONS = {
    RolloutStatus.TRUNCATED: Unjudged.TRUNCATED.value,
    RolloutStatus.MALFORMED: Unjudged.MALFORMED.value,
}


class OneByOne:
    """Makes a `BatchJudge` of a `Judge`."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    def compare(self, comparisons: Sequence[Comparison]) -> list[str | None]:
        """A verdict a comparison."""
        return [self.judge.compare(one.problem, one.first, one.second) for one in comparisons]

    def are_safe(self, responses: Sequence[tuple[Problem, str]]) -> list[bool | None]:
        """A verdict a response."""
        return [self.judge.is_safe(problem, response) for problem, response in responses]


class Comparer:
    """Judges responses as a `preferences` stage asks."""

    def __init__(
        self, config: PreferencesStage, stage: str, seed: int, judge: BatchJudge | None = None
    ) -> None:
        self.config, self.stage, self.seed, self.judge = config, stage, seed, judge
        self.template = TEMPLATES[config.template]

    # Responses -----------------------------------------------------------------------------------

    def responses(self, checkpoint: str, rollouts: Iterable[Rollout]) -> list[Response]:
        """Rollouts as responses; those that nobody should judge have their reason."""
        return [
            Response(
                rollout.problem.id,
                rollout.problem.domain,
                checkpoint,
                rollout.sample,
                whole_response(self.template, rollout.text),
                _REASONS.get(rollout.status),
                rollout.fault,
            )
            for rollout in rollouts
        ]

    def __call__(
        self, problems: Sequence[Problem], responses: Sequence[Response]
    ) -> tuple[Rows, list[Response]]:
        """Rows, and every response with its reason, in the order of the problems."""
        of_problem = {
            problem.id: self._different([r for r in responses if r.problem == problem.id])
            for problem in problems
        }
        judge = self._pairwise if self.config.objective == "pairwise" else self._pointwise
        return judge(problems, of_problem)

    def _different(self, responses: Sequence[Response]) -> list[Response]:
        """Responses to one problem; those that show nothing, or the same as an earlier one, are left out."""
        responses = [
            _left_out(one, Unjudged.EMPTY) if one.reason is None and not self._shown(one) else one
            for one in responses
        ]
        usable = [place for place, one in enumerate(responses) if one.reason is None]
        first = first_of_each([self._shown(responses[place]) for place in usable])
        doubles = {place for place, is_first in zip(usable, first, strict=True) if not is_first}
        return [
            _left_out(one, Unjudged.DUPLICATE) if place in doubles else one
            for place, one in enumerate(responses)
        ]

    def _shown(self, response: Response) -> str:
        """What the judge sees."""
        sees: Sees = "answer" if self.config.objective == "pairwise" else "response"
        return visible_part(response.response, sees, self.template.tags)

    # Pairs ---------------------------------------------------------------------------------------

    def _pairwise(
        self, problems: Sequence[Problem], of_problem: Mapping[str, list[Response]]
    ) -> tuple[Rows, list[Response]]:
        drawn: list[tuple[Problem, tuple[Response, Response]]] = []
        decided: list[Response] = []
        for problem in problems:
            pairs, responses = self._drawn(problem, of_problem[problem.id])
            drawn += [(problem, pair) for pair in pairs]
            decided += responses
        verdicts = iter(self._compared(drawn))
        rows = [
            self._row(problem)
            | {
                "responses": [one.response for one in pair],
                "verdicts": list(islice(verdicts, self.config.judgements)),
                "checkpoints": [one.checkpoint for one in pair],
                "samples": [one.sample for one in pair],
            }
            for problem, pair in drawn
        ]
        return rows, decided

    def _drawn(
        self, problem: Problem, responses: Sequence[Response]
    ) -> tuple[list[tuple[Response, Response]], list[Response]]:
        """Pairs of a problem, and its responses, of which those in no pair are left out."""
        usable = [place for place, one in enumerate(responses) if one.reason is None]
        key = f"pairs-{self.seed}-{problem.id}"
        pairs = [
            (usable[a], usable[b])
            for a, b in draw_pairs(len(usable), self.config.pairs_per_problem, key)
        ]
        alone = set(usable) - {place for pair in pairs for place in pair}
        decided = [
            _left_out(one, Unjudged.UNPAIRED) if place in alone else one
            for place, one in enumerate(responses)
        ]
        return [(responses[a], responses[b]) for a, b in pairs], decided

    def _compared(
        self, drawn: Sequence[tuple[Problem, tuple[Response, Response]]]
    ) -> list[str | None]:
        """The verdicts of every pair, one pair after another; response 0 is shown first in every other one."""
        asked = []
        for problem, (a, b) in drawn:
            shown = self._shown(a), self._shown(b)
            for turn in range(self.config.judgements):
                first, second = shown if turn % 2 == 0 else shown[::-1]
                asked.append(Comparison(problem, first, second, turn // 2))
        assert self.judge is not None, "somebody judges"
        return [label_of(verdict) for verdict in self.judge.compare(asked)] if asked else []

    # Labels --------------------------------------------------------------------------------------

    def _pointwise(
        self, problems: Sequence[Problem], of_problem: Mapping[str, list[Response]]
    ) -> tuple[Rows, list[Response]]:
        pairs = [(problem, one) for problem in problems for one in of_problem[problem.id]]
        asked = [(problem, self._shown(one)) for problem, one in pairs if one.reason is None]
        assert self.judge is not None, "somebody judges"
        labels = iter(self.judge.are_safe(asked) if asked else [])
        rows: Rows = []
        decided: list[Response] = []
        for problem, one in pairs:
            label = next(labels) if one.reason is None else None
            unread = one.reason is None and label is None
            decided.append(_left_out(one, Unjudged.UNREADABLE) if unread else one)
            if label is not None:
                rows.append(
                    self._row(problem)
                    | {
                        "response": one.response,
                        "label": label,
                        "checkpoint": one.checkpoint,
                        "sample": one.sample,
                    }
                )
        return rows, decided

    def _row(self, problem: Problem) -> dict[str, Any]:
        return {
            "prompt": [{"role": "user", "content": problem.question}],
            "problem": problem.id,
            "domain": problem.domain,
            "language": problem.language,
            "stage": self.stage,
        }


def _left_out(response: Response, why: Unjudged) -> Response:
    return replace(response, reason=why.value)
