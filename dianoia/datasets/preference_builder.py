"""Build preference data from responses: pairs with verdicts, or responses with safety labels.

In: the responses to some problems, of all checkpoints. Out: rows for reward models, and all responses, each with the
reason if it is in no row. An annotator sees the part that the reward model will see (section 3.1): the text after the
thought for pairs, the whole response for safety. The response in the row is whole in either case.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from dianoia.base.preference_records import Annotator, BatchAnnotator, Comparison
from dianoia.base.records import Problem, Rollout, RolloutStatus
from dianoia.config import PreferencesStage
from dianoia.datasets.pairs import label_of
from dianoia.datasets.response_verdicts import Unjudged, draw_pairs, first_of_each
from dianoia.storage.preference_table import Response
from dianoia.tasks.message_turns import messages_of_turns
from dianoia.text.template import Template
from dianoia.text.visible import Sees, visible_part, whole_response

Rows = list[dict[str, Any]]
_REASONS = {
    RolloutStatus.TRUNCATED: Unjudged.TRUNCATED.value,
    RolloutStatus.MALFORMED: Unjudged.MALFORMED.value,
}


class OneAtATime:
    """A `BatchAnnotator` that asks an `Annotator` about one item at a time."""

    def __init__(self, annotator: Annotator) -> None:
        self.annotator = annotator

    def compare(self, comparisons: Sequence[Comparison]) -> list[str | None]:
        """Return a verdict per comparison."""
        return [self.annotator.compare(c.problem, c.first, c.second) for c in comparisons]

    def are_safe(self, responses: Sequence[tuple[Problem, str]]) -> list[bool | None]:
        """Return a verdict per response."""
        return [self.annotator.is_safe(problem, response) for problem, response in responses]


class PreferenceBuilder:
    """Has responses compared or labelled by the settings of a `preferences` stage."""

    def __init__(
        self,
        config: PreferencesStage,
        stage: str,
        seed: int,
        template: Template,
        annotator: BatchAnnotator | None = None,
    ) -> None:
        """Without an `annotator` only `responses` can be called."""
        self.config, self.stage, self.seed, self.annotator = config, stage, seed, annotator
        self.template = template

    # Responses -----------------------------------------------------------------------------------

    def responses(self, checkpoint: str, rollouts: Iterable[Rollout]) -> list[Response]:
        """Turn rollouts into responses; truncated and malformed ones get their reason."""
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
        """Return the rows, and every response with its reason, in the order of the problems."""
        of_problem = {
            problem.id: self._without_duplicates([r for r in responses if r.problem == problem.id])
            for problem in problems
        }
        # One method per objective; both return rows and decided responses.
        build = self._pairwise if self.config.objective == "pairwise" else self._pointwise
        return build(problems, of_problem)

    def _without_duplicates(self, responses: Sequence[Response]) -> list[Response]:
        """Give responses to one problem that show nothing, or the same as an earlier one, their reason."""
        responses = [
            _reject(response, Unjudged.EMPTY)
            if response.reason is None and not self._visible(response)
            else response
            for response in responses
        ]
        # Indices, since reasons are given to all responses and duplicates are looked for among usable ones.
        usable = _usable(responses)
        # By visible parts: different thoughts before equal answers are one response to the annotator of pairs.
        is_first = first_of_each([self._visible(responses[index]) for index in usable])
        duplicates = {index for index, first in zip(usable, is_first, strict=True) if not first}
        return [
            _reject(response, Unjudged.DUPLICATE) if index in duplicates else response
            for index, response in enumerate(responses)
        ]

    def _visible(self, response: Response) -> str:
        """Return the part of a response that the annotator sees."""
        # The part that the reward model will see, so that it learns what the annotator looked at.
        sees: Sees = "answer" if self.config.objective == "pairwise" else "response"
        return visible_part(response.response, sees, self.template.tags)

    # Pairs ---------------------------------------------------------------------------------------

    def _pairwise(
        self, problems: Sequence[Problem], of_problem: Mapping[str, list[Response]]
    ) -> tuple[Rows, list[Response]]:
        """Draw pairs of all problems, have all of them compared at once, and make a row per pair."""
        all_pairs: list[tuple[Problem, tuple[Response, Response]]] = []
        decided: list[Response] = []
        for problem in problems:
            pairs, responses = self._draw_pairs(problem, of_problem[problem.id])
            all_pairs += [(problem, pair) for pair in pairs]
            decided += responses
        # One call for all problems: an annotator behind an endpoint works on many at a time.
        verdicts = iter(self._compare(all_pairs))
        rows = [
            self._row(problem)
            | {
                "responses": [response.response for response in pair],
                "verdicts": list(islice(verdicts, self.config.judgements)),
                "checkpoints": [response.checkpoint for response in pair],
                "samples": [response.sample for response in pair],
            }
            for problem, pair in all_pairs
        ]
        return rows, decided

    def _draw_pairs(
        self, problem: Problem, responses: Sequence[Response]
    ) -> tuple[list[tuple[Response, Response]], list[Response]]:
        """Return pairs of a problem's responses, and all its responses, of which those in no pair get their reason."""
        usable = _usable(responses)
        # Seeded by the problem: pairs do not depend on the batch that a problem is in.
        key = f"pairs-{self.seed}-{problem.id}"
        pairs = [
            (usable[a], usable[b])
            # Positions among the usable responses, turned into indices among all.
            for a, b in draw_pairs(len(usable), self.config.pairs_per_problem, key)
        ]
        unpaired = set(usable) - {index for pair in pairs for index in pair}
        decided = [
            _reject(response, Unjudged.UNPAIRED) if index in unpaired else response
            for index, response in enumerate(responses)
        ]
        return [(responses[a], responses[b]) for a, b in pairs], decided

    def _compare(
        self, pairs: Sequence[tuple[Problem, tuple[Response, Response]]]
    ) -> list[str | None]:
        """Return all verdicts on each pair, one pair after another."""
        comparisons = []
        for problem, (a, b) in pairs:
            texts = self._visible(a), self._visible(b)
            for judgement in range(self.config.judgements):
                # The orders alternate, so that a preference for a position cancels out.
                first, second = texts if judgement % 2 == 0 else texts[::-1]
                comparisons.append(Comparison(problem, first, second, judgement // 2))
        if not comparisons:
            return []
        assert self.annotator is not None, "comparing needs an annotator"
        return [label_of(verdict) for verdict in self.annotator.compare(comparisons)]

    # Labels --------------------------------------------------------------------------------------

    def _pointwise(
        self, problems: Sequence[Problem], of_problem: Mapping[str, list[Response]]
    ) -> tuple[Rows, list[Response]]:
        """Have all responses labelled at once, and make a row per response with a label."""
        pairs = [(problem, response) for problem in problems for response in of_problem[problem.id]]
        usable = [(problem, self._visible(r)) for problem, r in pairs if r.reason is None]
        assert self.annotator is not None, "labelling needs an annotator"
        # Only usable responses are labelled, so their labels are dealt out in order.
        labels = iter(self.annotator.are_safe(usable) if usable else [])
        rows: Rows = []
        decided: list[Response] = []
        for problem, response in pairs:
            label = next(labels) if response.reason is None else None
            unreadable = response.reason is None and label is None
            decided.append(_reject(response, Unjudged.UNREADABLE) if unreadable else response)
            if label is not None:
                rows.append(
                    self._row(problem)
                    | {
                        "response": response.response,
                        "label": label,
                        "checkpoint": response.checkpoint,
                        "sample": response.sample,
                    }
                )
        return rows, decided

    def _row(self, problem: Problem) -> dict[str, Any]:
        """Return the columns that both objectives have."""
        return {
            "prompt": messages_of_turns(problem.messages, self.template),
            "problem": problem.id,
            "domain": problem.domain,
            "language": problem.language,
            "stage": self.stage,
        }


def _usable(responses: Sequence[Response]) -> list[int]:
    """Return the indices of the responses without a reason against them."""
    return [index for index, response in enumerate(responses) if response.reason is None]


def _reject(response: Response, reason: Unjudged) -> Response:
    return replace(response, reason=reason.value)
