"""Checks whether the responses of a data set fit a template, before a model learns them.

In: conversations and a template. Out: how many of the responses the parser accepts, what is wrong with the others,
and the template that they would fit. A model that learns responses of another form writes that form, and every
stage that samples it then counts its responses as malformed. Not here: the questions of the data, and whether
answers are right.

Decisions:
1. A summary needs no box (it may be a program or a letter), and an empty box is no fault here.
2. Tags that the template does not have are a fault, although its parser ignores them: the summary
   `<answer>5</answer>` is well-formed under `r1`, but no verifier reads it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from dianoia.base.records import Conversation, Turn
from dianoia.text.dialogue import written
from dianoia.text.parsing import Broken, parse
from dianoia.text.template import TEMPLATES, Tags, Template

MIN_SHARE = 0.95
"""Share of fitting responses that is good enough: there is no warning."""
MAX_TRIED = 2000
"""Responses that are parsed under every template, to name the one that they fit."""
CODE = "template_misfit"
FOREIGN_TAGS = "tags_of_another_template"
"""A fault in addition to those of the parser (decision 2)."""
_EXAMPLE_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class BetterTemplate:
    """A template that responses fit better than their own."""

    name: str
    share: float
    """Share of the responses that fit it."""
    own_share: float
    """Share of the responses that fit their own template."""


def template_fault(text: str, template: Template) -> str | None:
    """Return the fault of a response under a template; None if it fits (decisions 1 and 2)."""
    parsed = parse(text, template, boxed=False)
    if isinstance(parsed, Broken):
        return parsed.rule.value
    tags = Tags()
    # Decision 2: `r1` and `chat` have no answer tags, `plain` has no tags at all.
    foreign = [tags.open_answer, tags.close_answer] if template.final == "summary" else []
    if template.tags is None and template.final == "answer":
        foreign = [tags.open_thought, tags.close_thought, tags.open_answer, tags.close_answer]
    return FOREIGN_TAGS if any(tag in text for tag in foreign) else None


def better_template(texts: Sequence[str], template: Template) -> BetterTemplate | None:
    """Return the template that most responses fit; None if no other template fits more of them than their own.

    Templates without tags are left out: nearly every response fits those.
    """
    # Samples of one problem are often the same text, which is parsed once.
    tried = Counter(texts[:MAX_TRIED])
    own_share = _fitting_share(tried, template)
    # Nothing can fit more than all of them.
    if own_share == 1.0:
        return None
    tagged = {name: other for name, other in TEMPLATES.items() if other.tags is not None}
    shares = {template.name: own_share} | {
        name: _fitting_share(tried, other)
        for name, other in tagged.items()
        if name != template.name
    }
    # Of equals the first wins, which is the template itself.
    best = max(shares, key=lambda name: shares[name])
    if shares[best] <= own_share:
        return None
    return BetterTemplate(best, shares[best], own_share)


def _fitting_share(texts: Counter[str], template: Template) -> float:
    fitting = sum(count for text, count in texts.items() if template_fault(text, template) is None)
    return fitting / max(1, texts.total())


@dataclass(slots=True)
class TemplateFit:
    """Counts of responses to learn by the templates that they fit."""

    template: Template
    responses: int = 0
    fitting: Counter[str] = field(default_factory=Counter)
    """Number of the first MAX_TRIED responses that fit each template, by its name."""
    fits: int = 0
    """Number of all responses that fit `template`."""
    faults: Counter[str] = field(default_factory=Counter)
    """Number of responses with each fault under `template`."""
    examples: dict[str, str] = field(default_factory=dict)
    """The beginning of the first response with each fault."""
    opened: int = 0
    """Number of responses whose prompt ends with the opening tag in the user's own text."""

    def add(self, conversation: Conversation) -> None:
        """Count the learnt responses of a conversation."""
        previous: Turn | None = None
        for index, turn in enumerate(conversation.turns):
            if turn.role == "assistant" and index >= conversation.first_learnt:
                self._count(turn, previous)
            previous = turn

    def _count(self, turn: Turn, previous: Turn | None) -> None:
        self.responses += 1
        # Beyond the first responses only the template itself is tried: parsing is what takes time.
        others = TEMPLATES if self.responses <= MAX_TRIED else {}
        opening = (self.template.tags or Tags()).open_thought
        self.opened += previous is not None and previous.text.rstrip().endswith(opening)
        for name, template in {**others, self.template.name: self.template}.items():
            fault = template_fault(written(turn, template), template)
            # Over the first responses only, for every template alike, so that counts can be compared.
            self.fitting[name] += fault is None and name in others
            if name == self.template.name:
                self.fits += fault is None
                if fault is not None:
                    self.faults[fault] += 1
                    self.examples.setdefault(fault, turn.text[:_EXAMPLE_CHARACTERS])

    @property
    def share(self) -> float:
        """Share of responses that fit the template; 1 without responses."""
        return self.fits / self.responses if self.responses else 1.0

    def misfit(self) -> tuple[str, str] | None:
        """Return a message and advice about responses that do not fit; None if nearly all fit."""
        if self.share >= MIN_SHARE and not self.opened:
            return None
        if self.share >= MIN_SHARE:
            return self._opened_message(), self._opened_advice()
        (fault, _), = self.faults.most_common(1)  # fmt: skip
        message = (
            f"{self.responses - self.fits:,} of {self.responses:,} responses to learn "
            f"({1 - self.share:.0%}) do not fit template = {self.template.name!r}: a model that learns them writes "
            "responses that every stage with this template counts as malformed or cannot grade. The most common "
            f"fault is {fault}, as in {self.examples[fault]!r}"
        )
        if self.opened:
            return f"{message}. {self._opened_message()}", self._opened_advice()
        return message, self._template_advice()

    def _opened_message(self) -> str:
        opening = (self.template.tags or Tags()).open_thought
        return (
            f"{self.opened:,} of {self.responses:,} prompts end with {opening} as a part of the user's text, so the model "
            "learns to close a thought that it never opens"
        )

    def _opened_advice(self) -> str:
        return (
            "move the tag from the end of the prompts to the beginning of the responses, or give thought and answer in "
            "columns of their own (`prompt`, `thought`, `answer`), to which every template adds its tags"
        )

    def _template_advice(self) -> str:
        if self.template.chat:
            return self._chat_advice()
        # A chat template without tags fits whatever the model writes.
        names = [name for name, other in TEMPLATES.items() if not other.chat]
        best = max(names, key=lambda name: (self.fitting[name], TEMPLATES[name].tags is not None))
        # `plain` fits nearly everything, so it is never recommended.
        fits = self.fitting[best] / min(self.responses, MAX_TRIED)
        if best != self.template.name and fits > self.share and TEMPLATES[best].tags is not None:
            return (
                f"set template = {best!r}, which {fits:.0%} of them fit, here and in the stages that sample or evaluate "
                "this model"
            )
        return (
            f"write responses such as {self.template.respond('2+3=5', '5').strip()!r}, or give thought and answer in "
            "columns of their own (`prompt`, `thought`, `answer`); for responses without any tags set template = 'plain'"
        )

    def _chat_advice(self) -> str:
        """Return advice that keeps the model's own prompt and changes the tags alone."""
        forms = {name: TEMPLATES[name] for name in ("r1-zero", "r1", "chat")}
        best = max(forms, key=lambda name: self.fitting[name])
        tags = forms[best].tags
        listed = "no tags" if tags is None else f"tags = {tags.listed(forms[best].final)}"
        return (
            f"write [templates.NAME] with chat = true and {listed}, which "
            f"{self.fitting[best] / min(self.responses, MAX_TRIED):.0%} of them fit, here and in the stages that sample or "
            "evaluate this model"
        )
