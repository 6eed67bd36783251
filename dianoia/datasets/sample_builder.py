"""From rollouts to data: graded, filtered, rewritten, each sample with one verdict.

In: the rollouts of some problems. Out: a `Row` a rollout. Only what would be kept is rewritten, since
rewriting costs; what is rewritten is looked at again, as the paper's people did (section B.3.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dianoia.base.records import Problem, Rollout
from dianoia.base.rewriting import Case, Refusal, Rewriter, Rewritten
from dianoia.config import SampleStage
from dianoia.datasets.selection import (
    FORM,
    Candidate,
    Reason,
    longest_paragraph,
    rejected_by,
    repetition,
    select,
)
from dianoia.judge.llm_grader import LLMGrader
from dianoia.judge.verification import Counts, count_verdicts, grade, grade_rollouts
from dianoia.metrics.group_metrics import Counter
from dianoia.storage.sample_table import SampleRow
from dianoia.text.parsing import Parsed, parse_answer
from dianoia.text.template import TEMPLATES


@dataclass(frozen=True, slots=True)
class _Sampled:
    """A sample on its way to a row."""

    candidate: Candidate
    reason: Reason | None
    detail: str | None = None
    before: str | None = None
    """The thought before it was rewritten."""
    summary: str | None = None


class Selector:
    """Decides about samples as a `sample` stage asks, and writes them down as rows."""

    def __init__(
        self,
        config: SampleStage,
        stage: str,
        count_tokens: Counter,
        grader: LLMGrader | None = None,
        rewriter: Rewriter | None = None,
    ) -> None:
        self.config, self.stage, self.count_tokens = config, stage, count_tokens
        self.grader, self.rewriter = grader, rewriter
        self._verdicts: list[tuple[Problem, str | None]] = []
        self.template = TEMPLATES[config.written_in]

    def __call__(self, rollouts_PG: Sequence[Sequence[Rollout]]) -> list[SampleRow]:
        """A row for every rollout, in order."""
        candidates = self._candidates([r for rollouts_G in rollouts_PG for r in rollouts_G])
        found: list[_Sampled] = []
        for rollouts_G in rollouts_PG:
            some = candidates[len(found) : len(found) + len(rollouts_G)]
            verdicts = select(some, self.config.keep, self.config.most_per_problem)
            found += [_judged(one, why) for one, why in zip(some, verdicts, strict=True)]
        return [self._row(one) for one in self._rewritten(found)]

    def verdicts(self) -> Counts:
        """Return the counts of the verifiers' verdicts on all that was graded since the last call."""
        counts = count_verdicts(self._verdicts)
        self._verdicts = []
        return counts

    # Grading -------------------------------------------------------------------------------------

    def _candidates(self, rollouts: Sequence[Rollout]) -> list[Candidate]:
        grades = self._grades(rollouts)
        tokens = self.count_tokens([rollout.thought or "" for rollout in rollouts])
        return [Candidate(*one) for one in zip(rollouts, grades, tokens, strict=True)]

    def _grades(self, rollouts: Sequence[Rollout]) -> list[float | None]:
        by_rule = grade_rollouts(rollouts)
        for rollout, result in zip(rollouts, by_rule, strict=True):
            self._verdicts.append((rollout.problem, None if result is None else result.label))
        grades = [None if result is None else result.score for result in by_rule]
        if self.grader is None or not self.config.keep.correct:
            return grades
        # An LLM grades the answers that no rule can.
        ungraded = {
            index: (rollout.problem, rollout.answer)
            for index, rollout in enumerate(rollouts)
            if rollout.answer is not None and grades[index] is None
        }
        verdicts = self.grader.grade(list(ungraded.values()))
        for index, verdict in zip(ungraded, verdicts, strict=True):
            grades[index] = verdict
        return grades

    # Rewriting -----------------------------------------------------------------------------------

    def _rewritten(self, found: list[_Sampled]) -> list[_Sampled]:
        if self.rewriter is None:
            return found
        places = [place for place, one in enumerate(found) if one.reason is None]
        outcomes = self.rewriter.rewrite([_case(found[place].candidate) for place in places])
        for place, outcome in zip(places, outcomes, strict=True):
            found[place] = self._told_again(found[place].candidate, outcome)
        return found

    def _told_again(self, one: Candidate, outcome: Rewritten | Refusal) -> _Sampled:
        if isinstance(outcome, Refusal):
            return _Sampled(one, Reason.NOT_REWRITTEN, outcome.value)
        (tokens,) = self.count_tokens([outcome.thought])
        new = Candidate(replace(one.rollout, thought=outcome.thought), one.grade, tokens)
        again = rejected_by(new, self.config.keep, FORM)
        if again is not None:
            return _Sampled(one, Reason.NOT_REWRITTEN, again.value)
        if not self._says_the_same(one, outcome):
            return _Sampled(one, Reason.NOT_REWRITTEN, Refusal.ANSWER_MISSING.value)
        return _Sampled(new, None, before=one.thought, summary=outcome.summary)

    def _says_the_same(self, one: Candidate, outcome: Rewritten) -> bool:
        """Whether the answer that is found in a summary is as right by rule as the sample's own was."""
        if self.config.final != "summary" or self.template.final != "summary":
            return True
        problem = one.rollout.problem
        told = self.template.respond(outcome.thought, outcome.summary)
        parsed = parse_answer(problem, told, self.template)
        if not isinstance(parsed, Parsed):
            return False
        (result,) = grade([(problem, parsed.answer)])
        self._verdicts.append((problem, result.label))
        return result.score in (None, one.grade)

    # Rows ----------------------------------------------------------------------------------------

    def _row(self, one: _Sampled) -> SampleRow:
        candidate, rollout = one.candidate, one.candidate.rollout
        problem = rollout.problem
        prompt = [{"role": "user", "content": problem.question}]
        completion = [{"role": "assistant", "content": self._response(one)}]
        return SampleRow(
            problem=problem.id,
            domain=problem.domain,
            language=problem.language,
            difficulty=problem.difficulty,
            question=problem.question,
            gold=problem.answer,
            prompt=prompt,
            completion=completion,
            messages=prompt + completion,
            thought=rollout.thought,
            answer=rollout.answer,
            summary=one.summary,
            sampled_thought=one.before,
            stage=self.stage,
            checkpoint=self.config.start,
            sample=rollout.sample,
            tokens=len(rollout.completion.ids),
            thought_tokens=candidate.tokens,
            accuracy=candidate.grade,
            target_language=candidate.language,
            repetition=repetition(candidate.thought),
            paragraph=longest_paragraph(candidate.thought),
            reason=None if one.reason is None else one.reason.value,
            detail=one.detail,
        )

    def _response(self, one: _Sampled) -> str:
        """What is to be learnt; of a sample without a thought, what it says."""
        rollout = one.candidate.rollout
        if rollout.thought is None or rollout.answer is None:
            return rollout.text
        final = rollout.answer
        if self.config.final == "summary" and one.summary:
            final = one.summary
        elif self.template.final == "summary":
            final = rollout.summary or rollout.answer
        return self.template.whole(rollout.thought, final)


def _judged(one: Candidate, reason: Reason | None) -> _Sampled:
    return _Sampled(one, reason, one.rollout.fault if reason is Reason.MALFORMED else None)


def _case(one: Candidate) -> Case:
    assert one.rollout.answer is not None, "only finished samples pass"
    return Case(one.rollout.problem, one.thought, one.rollout.answer)
