"""Templates: how a question becomes a prompt, and which tags the response has to use.

In: the name of a template and a recipe's `[templates]` tables. Out: a `Template`: the text around a question, and the
tags for `dianoia.text.parsing`. Not here: conversations (`text.dialogue`) and token ids (`text.prompts`).

Decisions where DeepSeek-R1 (arXiv 2501.12948v2) is silent or where we depart from it:
1. The R1-Zero template (table 1 of v1) is shorter and in our own words: every word of it costs a small model a
   token. It asks for the same, structure only: first the thought, then the bare answer. It does not mention
   reflection or verification.
2. No punctuation touches a tag, so that a tag has the same tokens in the prompt as in a response.
3. The prompt of `r1-zero-prefilled` ends with the opening tag, as in Logic-RL (arXiv 2502.14768). The response
   then must not open the thought again.
4. `plain` has no tags at all. It is the control for the effect of the template itself: R1's template can cost an
   untrained model most of its accuracy (arXiv 2503.20783), which training then seems to gain.
5. `chat` is the chat template of the model's own tokenizer, without tags: the form of a response is the model's.
6. `r1` is the form of the released models (section B.3.2, listings 5 to 7): after the thought comes a summary for
   the user, without tags, with the answer in `\\boxed{}`. The prompt explains nothing: a model learns the form by
   supervised fine-tuning. One line break follows the thought; the released models write two. `r1-prefilled` ends
   with the opening tag, as later revisions of their chat template do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from dianoia.base.errors import ConfigError, ModelError, nearest
from dianoia.config import TemplateSettings
from dianoia.config.template_table import QUESTION, SYSTEM


@dataclass(frozen=True, slots=True)
class Tags:
    """The four tags of a response, in the required order."""

    open_thought: str = "<think>"
    close_thought: str = "</think>"
    open_answer: str = "<answer>"
    close_answer: str = "</answer>"

    def listed(self, final: str) -> list[str]:
        """Return the tags that a response has, in order: without those of the answer before a summary."""
        tags = [self.open_thought, self.close_thought, self.open_answer, self.close_answer]
        return tags[:2] if final == "summary" else tags


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt around a question."""

    name: str
    prompt: str
    """Text that holds `{question}` exactly once, and may hold `{system}` before it; everything else is literal."""
    tags: Tags | None
    """None: the response has no tags, and its last line (or box, see `final`) is the answer."""
    opens_thought: bool = False
    """The prompt ends with the tag that opens the thought, so the response must not write it."""
    later: str = "\n{question}\n"
    """The prompt of a later question in a conversation of several turns."""
    final: Literal["answer", "summary"] = "answer"
    """What follows the thought: the bare answer in its tags, or a summary without tags that holds it. Without tags:
    the answer is the last line, or for a summary the last box and only without a box the last line."""
    system: str = ""
    """System text of conversations without a system message of their own."""
    chat: bool = False
    """The prompt is that of the tokenizer's chat template (`text.chat_format`). `prompt` and `later` then stand in for it where
    no tokenizer is at hand and only lengths count."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the chat template reads besides the messages."""

    def __post_init__(self) -> None:
        for prompt in (self.prompt, self.later):
            assert prompt.count(QUESTION) == 1, "a prompt holds {question} exactly once"
        if self.opens_thought:
            assert self.tags is not None, "a template without tags cannot open a thought"
        if self.opens_thought and self.tags and not self.chat:
            for prompt in (self.prompt, self.later):
                assert prompt.rstrip().endswith(self.tags.open_thought), (
                    "the prompt ends with the tag"
                )

    def render(self, question: str, later: bool = False, system: str = "") -> str:
        """Return the prompt for a question, the first or a later one of a conversation.

        A system text stands in its place, or else on a line of its own before the prompt.
        """
        # Split before anything is filled in: a system text may hold `{question}` itself.
        before, after = (self.later if later else self.prompt).split(QUESTION)
        # `replace` and not `format`: question and system text may hold braces, and each other's places.
        if SYSTEM in before:
            before = before.replace(SYSTEM, system)
        elif system:
            before = f"{system}\n{before}"
        return before + question + after

    def without_opening(self, prompt: str) -> str:
        """Return a rendered prompt without the tag that opens the thought at its end, if it has one."""
        if not (self.opens_thought and self.tags):
            return prompt
        # Blanks before the tag belong to it; line breaks are the template's own.
        stripped = prompt.rstrip().removesuffix(self.tags.open_thought)
        return stripped.rstrip(" ")

    def record(self) -> str | dict[str, Any]:
        """Return what `recorded_template` makes this template of again: a built-in name, or a name and its table."""
        # Equal and not only of the same name: a recipe of another version may have meant another text by it.
        if TEMPLATES.get(self.name) == self:
            return self.name
        return {"name": self.name, **self.settings().model_dump(exclude_defaults=True)}

    def settings(self) -> TemplateSettings:
        """Return the table that makes this template."""
        tags = None if self.tags is None else self.tags.listed(self.final)
        about: dict[str, Any] = {"system": self.system, "tags": tags or []}
        if self.chat:
            about |= {
                "chat": True,
                "arguments": dict(self.arguments),
                "opens_thought": self.opens_thought,
            }
        else:
            about |= {"prompt": self.prompt, "later": self.later}
        return TemplateSettings.model_validate(about)

    def respond(self, thought: str, final: str) -> str:
        """Return a response to the prompt, made of a thought and an answer or summary."""
        response = self.whole(thought, final)
        if self.tags is None:
            return response
        if self.opens_thought:
            return response.removeprefix(self.tags.open_thought)
        # A chat template ends its prompt with a line break, where a blank has no place.
        return response if self.chat else f" {response}"

    def whole(self, thought: str, final: str) -> str:
        """Return a response with all its tags, including the one that a prompt may open."""
        thought = thought.strip()
        if self.tags is None:
            return f"{thought}\n{final}" if thought else final
        # An empty thought keeps one line break, so that the tags never touch.
        inside = f"\n{thought}\n" if thought else "\n"
        if self.final == "answer":
            final = f"{self.tags.open_answer}{final}{self.tags.close_answer}"
        return f"{self.tags.open_thought}{inside}{self.tags.close_thought}\n{final}"


_R1_ZERO = (
    "A User asks a question and an Assistant answers it. "
    "Inside <think> </think> the Assistant first thinks about the question. "
    "Inside <answer> </answer> it then gives the final answer and nothing else.\n"
    "User: {question}\nAssistant:"
)

_R1 = "User: {question}\nAssistant:"
_LATER = f"\n{_R1}"

TEMPLATES = {
    template.name: template
    for template in (
        Template("r1-zero", _R1_ZERO, Tags(), later=_LATER),
        Template(
            "r1-zero-prefilled", _R1_ZERO + " <think>", Tags(), True, later=_LATER + " <think>"
        ),
        Template("plain", "{question}\n", None),
        Template("r1", _R1, Tags(), later=_LATER, final="summary"),
        Template(
            "r1-prefilled",
            _R1 + " <think>",
            Tags(),
            True,
            later=_LATER + " <think>",
            final="summary",
        ),
        Template("chat", "{question}\n", None, final="summary", chat=True),
    )
}


TEMPLATE_RECORD = "dianoia_template"
"""Entry of a checkpoint's `config.json`: the template under which it was trained, see `Template.record`."""

# Templates by name -------------------------------------------------------------------------------


DEFAULT = "r1-zero"
"""Name of the template of a stage that names none and whose model records none."""


def template_of(
    name: str | None, tables: Mapping[str, TemplateSettings], key: str = "template"
) -> Template:
    """Return a template by name: a built-in one, or one of a recipe's `[templates]` tables.

    Raises ConfigError, with the names that exist, for another name; `key` is where it stands in the recipe.
    """
    name = name or DEFAULT
    if name in TEMPLATES:
        return TEMPLATES[name]
    if name in tables:
        return _own_template(name, tables[name])
    names = [*TEMPLATES, *tables]
    raise ConfigError(
        f"{key} = {name!r}: there is no such template{nearest(name, names)}; there are {', '.join(names)}; or write "
        f"your own as [templates.{name}]"
    )


def recorded_template(value: object) -> Template | None:
    """Return the template that `Template.record` has written; None for anything else."""
    if isinstance(value, str):
        return TEMPLATES.get(value)
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    try:
        table = TemplateSettings.model_validate({k: v for k, v in value.items() if k != "name"})
    except ValidationError:
        return None
    return _own_template(value["name"], table)


def checkpoint_template(source: str, config: Mapping[str, Any]) -> Template | None:
    """Return the template that a checkpoint was trained under, by its `config.json`; None for a model without a record.

    Raises ModelError for a record that no stage writes.
    """
    written = config.get(TEMPLATE_RECORD)
    template = recorded_template(written)
    # A folder may come from anywhere, and answers under a wrong template would be noise.
    if written is not None and template is None:
        raise ModelError(
            f"The model {source!r} says in config.json that it was trained with {TEMPLATE_RECORD} = "
            f"{str(written)[:200]}, which no stage writes, so its prompts would be wrong; name the template in the "
            "recipe and remove the entry, or fetch the folder again"
        )
    return template


def _own_template(name: str, table: TemplateSettings) -> Template:
    tags = Tags(*table.tags) if table.tags else None
    final: Literal["answer", "summary"] = "answer" if len(table.tags) == 4 else "summary"
    if table.prompt is None:
        return Template(
            name,
            TEMPLATES["chat"].prompt,
            tags,
            opens_thought=table.opens_thought,
            final=final,
            system=table.system,
            chat=True,
            arguments=table.arguments,
        )
    # The line with the question, and what follows it: as the built-in templates do.
    head, question, tail = table.prompt.partition(QUESTION)
    later = "\n" + (head.rpartition("\n")[2] + question + tail).replace(SYSTEM, "")
    return Template(
        name,
        table.prompt,
        tags,
        opens_thought=tags is not None and table.prompt.rstrip().endswith(tags.open_thought),
        later=later if table.later is None else table.later,
        final=final,
        system=table.system,
    )
