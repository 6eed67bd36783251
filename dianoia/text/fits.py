"""Whether the responses of a data set are such as a template asks for: told before a model learns them.

In: conversations and a template. Out: how many of the responses to learn the parser accepts, what is wrong with the
others, and the template that they would fit. A model that learns responses of another form writes them, and everything
that samples it afterwards takes them for malformed. Left out: the data's questions, and whether answers are right.

Decision: a box in a summary is not asked for (it may be a program or a letter); an empty one is no fault here.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from dianoia.base.records import Conversation, Turn
from dianoia.text.dialogue import written
from dianoia.text.parsing import Broken, Parsed, parse
from dianoia.text.template import TEMPLATES, Tags, Template

ENOUGH = 0.95
"""Share of fitting responses from which on nothing is said."""
LOOKED_AT = 2000
"""Responses that are tried under every template, to name the one that they fit."""
CODE = "template_misfit"
_SHOWN_CHARS = 120


def fitting_template(texts: Sequence[str], template: Template) -> tuple[str, float] | None:
    """Name the template that most responses fit, with their share; None where no other one fits more of them.

    Templates without tags are left out: nearly everything fits those.
    """
    tagged = {name: other for name, other in TEMPLATES.items() if other.tags is not None}
    looked_at = texts[:LOOKED_AT]
    shares = {
        name: sum(isinstance(parse(text, other, boxed=False), Parsed) for text in looked_at)
        / max(1, len(looked_at))
        for name, other in {template.name: template, **tagged}.items()
    }
    best = max(shares, key=lambda name: shares[name])
    return None if shares[best] <= shares[template.name] else (best, shares[best])


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
            parsed = parse(written(turn, template), template, boxed=False)
            self.fitting[name] += isinstance(parsed, Parsed) and name in others
            if name == self.template.name and isinstance(parsed, Parsed):
                self.fits += 1
            if name == self.template.name and isinstance(parsed, Broken):
                self.faults[parsed.rule.value] += 1
                self.examples.setdefault(parsed.rule.value, turn.text[:_SHOWN_CHARS])

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
            "every stage that samples it under this template takes for malformed, which is never right. The commonest "
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
