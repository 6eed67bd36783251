"""Parts of a reward that are measured for many rollouts at once: functions, reward models, a judge behind an endpoint.

In: an `rl` table and its rollouts. Out: for each group the rules that hold these parts (`Further`), beside those that
look at one rollout (`judge.judge`). Functions are asked about every rollout, general prompts too; reward models and
the judge about problems with a verifier.

Decisions:
1. Functions see every sample, as in TRL, truncated and malformed ones too. A reward model is shown whole responses
   that finished; the others get the lowest score of their group, as with `preferences` (`judge.learned`).
2. The judge is shown answers of finished samples; the others get 0 without being asked, as from a verifier.
3. Its verdict on a problem that no rule can grade is that problem's accuracy, in training and on the held-out
   curve: so means, votes and diagnoses hold for both kinds. `grades = "all"` asks it about the others too, in
   training alone, as a part of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from statistics import fmean
from typing import Any

from dianoia.base.records import Group, Rollout
from dianoia.config import FunctionSettings, RewardSettings
from dianoia.judge.function_files import make
from dianoia.judge.functions import Function, TrainerState, measure
from dianoia.judge.learned import learned
from dianoia.judge.llm_grader import ModelJudge
from dianoia.judge.reward_model_part import Preferred
from dianoia.judge.reward_model_scores import RewardModel
from dianoia.judge.rules import ACCURACY, JUDGE, Rule
from dianoia.models.endpoint import Endpoint
from dianoia.storage.context import Context
from dianoia.text.template import TEMPLATES, Template

REFERENCE = "reference"
"""The verifier of problems that no rule can grade."""

Rollouts = Sequence[Sequence[Rollout]]


@dataclass(frozen=True, slots=True)
class Further:
    """What is known of one group beside what rules see in a single rollout."""

    rules: tuple[Rule, ...] = ()
    verdict: Rule | None = None
    """Takes the verifier's place."""
    notes_G: tuple[Mapping[str, Any], ...] = ()
    """What functions logged about each sample; empty where none did."""

    def noted(self, group: Group) -> Group:
        """The scored group with these notes."""
        if not self.notes_G:
            return group
        scores = zip(group.scores, self.notes_G, strict=True)
        return replace(group, scores=tuple(replace(score, notes=notes) for score, notes in scores))


class Judge:
    """A model that grades answers, where the recipe asks for it."""

    def __init__(self, model: ModelJudge, weight: float, everything: bool) -> None:
        self.model, self.weight, self.everything = model, weight, everything
        self.asked, self.unread = 0, 0

    def rules(self, rollouts_PG: Rollouts, training: bool = True) -> list[Rule | None]:
        """Of each group its verdict as a rule, None for a group that it does not grade."""
        graded = [some for some in rollouts_PG if self._grades(some[0], training)]
        shown = [r for some in graded for r in some if r.answer is not None]
        verdicts = self.model.grade([(r.problem, r.answer or "") for r in shown])
        self.asked += len(shown)
        self.unread += sum(verdict is None for verdict in verdicts)
        known = {id(r): verdict for r, verdict in zip(shown, verdicts, strict=True)}
        return [
            self._rule(some, known) if self._grades(some[0], training) else None
            for some in rollouts_PG
        ]

    def _grades(self, rollout: Rollout, training: bool) -> bool:
        return rollout.problem.verifier == REFERENCE or (training and self.everything)

    def _rule(self, rollouts_G: Sequence[Rollout], known: Mapping[int, float | None]) -> Rule:
        name = ACCURACY if rollouts_G[0].problem.verifier == REFERENCE else JUDGE
        verdicts_G = [known[id(r)] if r.answer is not None else 0.0 for r in rollouts_G]
        return learned(name, verdicts_G, self.weight)

    def figures(self) -> dict[str, float]:
        """How many of the verdicts since the last call could not be read; empty where there were none."""
        asked, unread = self.asked, self.unread
        self.asked, self.unread = 0, 0
        return {"judge/unread": unread / asked} if asked else {}


class Parts:
    """All parts of one stage's reward that are measured for many rollouts at once."""

    def __init__(
        self,
        functions: Sequence[tuple[Function, float]] = (),
        models: Sequence[Preferred] = (),
        judge: Judge | None = None,
        template: Template | None = None,
    ) -> None:
        """`functions` come with their weights."""
        self.functions, self.models, self.judge = functions, models, judge
        self.template = template
        self.logged: dict[str, list[float]] = {}

    def of_all(self, rollouts_PG: Rollouts, state: TrainerState) -> list[Further]:
        """What the functions say of every group, in one call."""
        if not self.functions:
            return [Further()] * len(rollouts_PG)
        every = [rollout for rollouts_G in rollouts_PG for rollout in rollouts_G]
        found = measure([function for function, _ in self.functions], every, state, self.template)
        for name, value in found.metrics.items():
            self.logged.setdefault(f"logged/{name}", []).append(value)
        values = {name: iter(some) for name, some in found.values.items()}
        notes = iter(found.notes)
        return [
            Further(
                tuple(
                    learned(f.name, list(islice(values[f.name], len(some))), weight)
                    for f, weight in self.functions
                ),
                notes_G=tuple(islice(notes, len(some))),
            )
            for some in rollouts_PG
        ]

    def of_problems(self, rollouts_PG: Rollouts, known: Sequence[Further]) -> list[Further]:
        """What models and judge say beside that, of problems with a verifier."""
        found = [list(further.rules) for further in known]
        for model in self.models:
            for some, rule in zip(found, model.rules(rollouts_PG), strict=True):
                some.append(rule)
        verdicts = self.judge.rules(rollouts_PG) if self.judge else [None] * len(rollouts_PG)
        for some, verdict in zip(found, verdicts, strict=True):
            if verdict is not None and verdict.name == JUDGE:
                some.append(verdict)
        return [
            replace(further, rules=tuple(some), verdict=_accuracy(verdict))
            for further, some, verdict in zip(known, found, verdicts, strict=True)
        ]

    def verdicts(self, rollouts_PG: Rollouts) -> list[Rule | None]:
        """What takes the verifier's place in each group of the held-out curve."""
        if self.judge is None:
            return [None] * len(rollouts_PG)
        return self.judge.rules(rollouts_PG, training=False)

    def figures(self) -> dict[str, float]:
        """What functions logged since the last call, averaged, and what the judge left unread."""
        found = {name: fmean(values) for name, values in self.logged.items()}
        self.logged = {}
        return found | (self.judge.figures() if self.judge else {})

    def state(self) -> dict[str, float | None]:
        """What `load_state` needs to go on."""
        return {model.name: model.lowest for model in self.models}

    def load_state(self, state: Mapping[str, float | None]) -> None:
        """Go on where `state()` was taken."""
        for model in self.models:
            model.lowest = state[model.name]


def _accuracy(verdict: Rule | None) -> Rule | None:
    return verdict if verdict is not None and verdict.name == ACCURACY else None


def parts(rewards: RewardSettings, template: str, context: Context) -> Parts:
    """What the recipe names, loaded. Raises ConfigError and ModelError for what cannot be used."""
    functions = [(load(function), function.weight) for function in rewards.functions]
    models = [
        Preferred(one.name, _whole(one.model, context), one.weight, "rewards.models")
        for one in rewards.models
    ]
    judge = None
    if rewards.judge is not None:
        asked = ModelJudge(Endpoint(rewards.judge, context.directory.answers).ask)
        judge = Judge(asked, rewards.judge.weight, rewards.judge.grades == "all")
    return Parts(functions, models, judge, TEMPLATES[template])


def load(settings: FunctionSettings) -> Function:
    """A function of the recipe, ready to be called. Raises ConfigError."""
    call = make(settings.path, settings.arguments)
    return Function(settings.title, call, settings.path, settings.form)


def _whole(source: str, context: Context) -> RewardModel:
    return RewardModel.load(context.resolve(source), context.device)
