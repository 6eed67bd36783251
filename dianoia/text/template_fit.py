"""Whether the responses of a data set are such as a template asks for: told before a model learns them.

In: conversations and a template. Out: how many of the responses to learn the parser accepts, what is wrong with the
others, and the template that they would fit. A model that learns responses of another form writes them, and everything
that samples it afterwards takes them for malformed. Left out: the data's questions, and whether answers are right.

Decisions:
1. A box in a summary is not asked for (it may be a program or a letter); an empty one is no fault here.
2. Tags that the template does not have are a fault, though its parser passes over them: the summary
   `<answer>5</answer>` is well-formed under `r1`, and no verifier reads it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from dianoia.base.records import Conversation, Turn
from dianoia.text.dialogue import written
from dianoia.text.parsing import Broken, parse
from dianoia.text.template import TEMPLATES, Tags, Template

ENOUGH = 0.95
"""Share of fitting responses from which on nothing is said."""
LOOKED_AT = 2000
"""Responses that are tried under every template, to name the one that they fit."""
CODE = "template_misfit"
FOREIGN = "tags_of_another_template"
"""A fault beside those of the parser (decision 2)."""
_SHOWN_CHARS = 120


@dataclass(frozen=True, slots=True)
class Other:
    """A template that responses fit better than their own."""

    name: str
    share: float
    """Of the responses that fit it."""
    own_share: float
    """Of those that fit their own."""


def misfit_of(text: str, template: Template) -> str | None:
    """Name what is wrong with a response under a template; None for one that fits (decisions 1 and 2)."""
    parsed = parse(text, template, boxed=False)
    if isinstance(parsed, Broken):
        return parsed.rule.value
    tags = Tags()
    foreign = [tags.open_answer, tags.close_answer] if template.final == "summary" else []
    if template.tags is None:
        foreign = [tags.open_thought, tags.close_thought, tags.open_answer, tags.close_answer]
    return FOREIGN if any(tag in text for tag in foreign) else None


def fitting_template(texts: Sequence[str], template: Template) -> Other | None:
    """Find the template that most responses fit; None where no other one fits more of them.

    Templates without tags are left out: nearly everything fits those.
    """
    tagged = {name: other for name, other in TEMPLATES.items() if other.tags is not None}
    looked_at = texts[:LOOKED_AT]
    shares = {
        name: sum(misfit_of(text, other) is None for text in looked_at) / max(1, len(looked_at))
        for name, other in {template.name: template, **tagged}.items()
    }
    best = max(shares, key=lambda name: shares[name])
    own = shares[template.name]
    return None if shares[best] <= own else Other(best, shares[best], own)


@dataclass(slots=True)
class Fit:
    """Responses to learn, counted by the templates that they fit."""

    template: Template
    responses: int = 0
    fitting: Counter[str] = field(default_factory=Counter)
    """Of the first LOOKED_AT responses, by the name of each template whose parser accepts them."""
    fits: int = 0
    """Of all responses, those that `template`'s parser accepts."""
    faults: Counter[str] = field(default_factory=Counter)
    """Of those that do not fit `template`."""
    examples: dict[str, str] = field(default_factory=dict)
    """The beginning of a response with each fault."""
    opened: int = 0
    """Responses whose prompt ends with the tag that opens a thought, in the user's own text."""

    def add(self, conversation: Conversation) -> None:
        """Count the responses of a conversation that are learnt."""
        before: Turn | None = None
        for index, turn in enumerate(conversation.turns):
            if turn.role == "assistant" and index >= conversation.first_learnt:
                self._count(turn, before)
            before = turn

    def _count(self, turn: Turn, before: Turn | None) -> None:
        self.responses += 1
        others = TEMPLATES if self.responses <= LOOKED_AT else {}
        opening = (self.template.tags or Tags()).open_thought
        self.opened += before is not None and before.text.rstrip().endswith(opening)
        for name, template in {**others, self.template.name: self.template}.items():
            fault = misfit_of(written(turn, template), template)
            self.fitting[name] += fault is None and name in others
            if name == self.template.name:
                self.fits += fault is None
                if fault is not None:
                    self.faults[fault] += 1
                    self.examples.setdefault(fault, turn.text[:_SHOWN_CHARS])

    @property
    def share(self) -> float:
        """Of the responses that fit the template; 1 without responses."""
        return self.fits / self.responses if self.responses else 1.0

    def misfit(self) -> tuple[str, str] | None:
        """Say what does not fit and what to do about it; None where nearly all fits."""
        if self.share >= ENOUGH and not self.opened:
            return None
        if self.share >= ENOUGH:
            return self._opened(), self._unopen()
        (fault, _), = self.faults.most_common(1)  # fmt: skip
        message = (
            f"{self.responses - self.fits:,} of {self.responses:,} responses to learn "
            f"({1 - self.share:.0%}) do not fit template = {self.template.name!r}: a model that learns them writes what "
            "every stage that samples it under this template takes for malformed or cannot grade. The commonest "
            f"fault is {fault}, as in {self.examples[fault]!r}"
        )
        if self.opened:
            return f"{message}. {self._opened()}", self._unopen()
        return message, self._cure()

    def _opened(self) -> str:
        opening = (self.template.tags or Tags()).open_thought
        return (
            f"{self.opened:,} of {self.responses:,} prompts end with {opening}, which stands in the user's words there, so "
            "that the model learns to close a thought that it never opens"
        )

    def _unopen(self) -> str:
        return (
            "take the tag from the end of the prompts and put it before the responses, or give thought and answer in "
            "columns of their own (`prompt`, `thought`, `answer`), to which every template puts its tags"
        )

    def _cure(self) -> str:
        best = max(
            TEMPLATES, key=lambda name: (self.fitting[name], TEMPLATES[name].tags is not None)
        )
        fits = self.fitting[best] / min(self.responses, LOOKED_AT)
        if best != self.template.name and fits > self.share and TEMPLATES[best].tags is not None:
            return (
                f"set template = {best!r}, which {fits:.0%} of them fit, here and in the stages that sample or evaluate "
                "this one"
            )
        return (
            f"write responses such as {self.template.respond('2+3=5', '5').strip()!r}, or give thought and answer in "
            "columns of their own (`prompt`, `thought`, `answer`); for responses without any tags set template = 'plain'"
        )
