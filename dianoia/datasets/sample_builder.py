"""Build supervised data from rollouts: grade, filter and rewrite samples, and give each a reason if it is rejected.

In: the rollouts of some problems. Out: a `SampleRow` per rollout. Only samples that pass the filters are rewritten, since
rewriting costs; a rewritten thought is filtered again, as the paper's annotators did (section B.3.2).
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
from dianoia.metrics.group_metrics import TokenCounter
from dianoia.storage.sample_table import SampleRow
from dianoia.tasks.message_turns import messages_of_turns
from dianoia.text.parsing import Parsed, parse_answer
from dianoia.text.template import Template


@dataclass(frozen=True, slots=True)
class _Sample:
    """A sample before it becomes a row."""

    candidate: Candidate
    reason: Reason | None
    detail: str | None = None
    sampled_thought: str | None = None
    """The thought before it was rewritten."""
    summary: str | None = None


class SampleBuilder:
    """Keeps or rejects samples by the settings of a `sample` stage, and turns them into rows."""

    def __init__(
        self,
        config: SampleStage,
        stage: str,
        template: Template,
        count_tokens: TokenCounter,
        grader: LLMGrader | None = None,
        rewriter: Rewriter | None = None,
    ) -> None:
        """`template` is the form in which completions are written."""
        self.config, self.stage, self.template = config, stage, template
        self.count_tokens = count_tokens
        self.grader, self.rewriter = grader, rewriter
        self._verdicts: list[tuple[Problem, str | None]] = []

    def __call__(self, rollouts_PG: Sequence[Sequence[Rollout]]) -> list[SampleRow]:
        """Return a row per rollout, in order."""
        candidates = self._candidates([r for rollouts_G in rollouts_PG for r in rollouts_G])
        samples: list[_Sample] = []
        for rollouts_G in rollouts_PG:
            # `candidates` are those of all problems, in order; these are the problem's own.
            candidates_G = candidates[len(samples) : len(samples) + len(rollouts_G)]
            # Per problem: duplicates and the limit are counted among its own samples.
            reasons = select(candidates_G, self.config.keep, self.config.most_per_problem)
            samples += [
                _sample(candidate, reason)
                for candidate, reason in zip(candidates_G, reasons, strict=True)
            ]
        return [self._row(sample) for sample in self._rewrite(samples)]

    def verdicts(self) -> Counts:
        """Return the counts of the verifiers' verdicts on all that was graded since the last call."""
        counts = count_verdicts(self._verdicts)
        self._verdicts = []
        return counts

    # Grading -------------------------------------------------------------------------------------

    def _candidates(self, rollouts: Sequence[Rollout]) -> list[Candidate]:
        grades = self._grades(rollouts)
        tokens = self.count_tokens([rollout.thought or "" for rollout in rollouts])
        return [Candidate(*fields) for fields in zip(rollouts, grades, tokens, strict=True)]

    def _grades(self, rollouts: Sequence[Rollout]) -> list[float | None]:
        """Grade by verifiers, then by the LLM grader where no rule could; None where neither could."""
        # Verifiers first, all answers in one batch.
        by_rule = grade_rollouts(rollouts)
        for rollout, result in zip(rollouts, by_rule, strict=True):
            self._verdicts.append((rollout.problem, None if result is None else result.label))
        grades = [None if result is None else result.score for result in by_rule]
        if self.grader is None or not self.config.keep.correct:
            return grades
        # Answers of problems that no verifier can grade go to the LLM, in one batch too.
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

    def _rewrite(self, samples: list[_Sample]) -> list[_Sample]:
        """Rewrite the samples that have no reason against them, in place."""
        if self.rewriter is None:
            return samples
        indices = [index for index, sample in enumerate(samples) if sample.reason is None]
        outcomes = self.rewriter.rewrite([_case(samples[index].candidate) for index in indices])
        for index, outcome in zip(indices, outcomes, strict=True):
            samples[index] = self._check_rewritten(samples[index].candidate, outcome)
        return samples

    def _check_rewritten(self, original: Candidate, outcome: Rewritten | Refusal) -> _Sample:
        """Return the sample with its new thought; or rejected, if the form or the answer does not hold any more."""
        if isinstance(outcome, Refusal):
            return _Sample(original, Reason.NOT_REWRITTEN, outcome.value)
        (tokens,) = self.count_tokens([outcome.thought])
        # Only the thought is replaced: the answer stays the sample's own, so its grade holds.
        rollout = replace(original.rollout, thought=outcome.thought)
        rewritten = Candidate(rollout, original.grade, tokens)
        # A rewriter may lengthen, translate or repeat: the form is checked again, the answer is not.
        reason = rejected_by(rewritten, self.config.keep, FORM)
        if reason is not None:
            return _Sample(original, Reason.NOT_REWRITTEN, reason.value)
        if not self._has_same_grade(original, outcome):
            return _Sample(original, Reason.NOT_REWRITTEN, Refusal.ANSWER_MISSING.value)
        return _Sample(rewritten, None, sampled_thought=original.thought, summary=outcome.summary)

    def _has_same_grade(self, original: Candidate, outcome: Rewritten) -> bool:
        """Return True if the answer in the new summary gets the grade of the sample's own answer by rule."""
        if self.config.final != "summary" or self.template.final != "summary":
            return True
        problem = original.rollout.problem
        response = self.template.respond(outcome.thought, outcome.summary)
        parsed = parse_answer(problem, response, self.template)
        if not isinstance(parsed, Parsed):
            return False
        (result,) = grade([(problem, parsed.answer)])
        self._verdicts.append((problem, result.label))
        # None: the rules cannot grade it, so they cannot contradict the sample's grade.
        return result.score in (None, original.grade)

    # Rows ----------------------------------------------------------------------------------------

    def _row(self, sample: _Sample) -> SampleRow:
        candidate, rollout = sample.candidate, sample.candidate.rollout
        problem = rollout.problem
        prompt = messages_of_turns(problem.messages, self.template)
        completion = [{"role": "assistant", "content": self._response(sample)}]
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
            summary=sample.summary,
            sampled_thought=sample.sampled_thought,
            stage=self.stage,
            checkpoint=self.config.start,
            sample=rollout.sample,
            tokens=len(rollout.completion.ids),
            thought_tokens=candidate.tokens,
            accuracy=candidate.grade,
            target_language=candidate.language,
            repetition=repetition(candidate.thought),
            paragraph=longest_paragraph(candidate.thought),
            reason=None if sample.reason is None else sample.reason.value,
            detail=sample.detail,
        )

    def _response(self, sample: _Sample) -> str:
        """Return the response to learn; for a sample without a thought or an answer, its own text."""
        rollout = sample.candidate.rollout
        if rollout.thought is None or rollout.answer is None:
            return rollout.text
        # In order of preference: the new summary, the sampled one, the answer.
        final = rollout.answer
        if self.config.final == "summary" and sample.summary:
            final = sample.summary
        elif self.template.final == "summary":
            final = rollout.summary or rollout.answer
        return self.template.whole(rollout.thought, final)


def _sample(candidate: Candidate, reason: Reason | None) -> _Sample:
    fault = candidate.rollout.fault if reason is Reason.MALFORMED else None
    return _Sample(candidate, reason, fault)


def _case(candidate: Candidate) -> Case:
    rollout = candidate.rollout
    assert rollout.answer is not None, "only finished samples pass"
    return Case(rollout.problem, candidate.thought, rollout.answer)
