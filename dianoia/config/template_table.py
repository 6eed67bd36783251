"""Templates of a recipe's own: a `[templates.NAME]` table says what stands around a question and how a model answers."""

from typing import Any, Self

from pydantic import Field, model_validator

from dianoia.config.settings import Settings

QUESTION, SYSTEM = "{question}", "{system}"
"""Places in the text of a prompt. All other braces are literal."""


class TemplateSettings(Settings):
    """What stands around a question, and the tags of the response. The table's name is the template's."""

    prompt: str | None = Field(default=None, min_length=1)
    """The text of the prompt, with `{question}` once and, if wanted, `{system}` once before it; everything else is
    literal. If it ends with the tag that opens a thought, responses must not write that tag."""
    chat: bool = False
    """The prompt is rendered by the chat template of the model's own tokenizer, in place of `prompt`."""
    arguments: dict[str, Any] = {}
    """What the chat template reads besides the messages, such as `{ enable_thinking = false }`."""
    opens_thought: bool = False
    """A prompt of the chat template is followed by the tag that opens a thought, unless it ends with it already."""
    later: str | None = None
    """The prompt of a later question of a conversation, with `{question}`; absent: a line break, then `prompt` from
    the line of its question on."""
    system: str = ""
    """System text of conversations that have no system message of their own."""
    tags: list[str] = []
    """Two tags: a thought between them, then a summary that holds the answer in its box or is the answer. Four: a
    thought, then the bare answer in tags of its own. None: the last box is the answer, else the last line."""

    @model_validator(mode="after")
    def _prompt_or_chat(self) -> Self:
        if self.chat == (self.prompt is not None):
            raise ValueError(
                "the table has both prompt and chat = true; remove one of the two"
                if self.chat
                else f"the table says nothing about prompts; write prompt, a text that holds {QUESTION}, or chat = true for "
                "the chat template of the model's own tokenizer"
            )
        # Keys that the other kind of template would not read.
        idle = ("later",) if self.chat else ("arguments", "opens_thought")
        for key in idle:
            if getattr(self, key):
                raise ValueError(
                    f"{key} is set with {'chat = true' if self.chat else 'prompt'}, where it means nothing; "
                    + ("remove it" if key != "opens_thought" else "end prompt with the tag instead")
                )
        if self.opens_thought and not self.tags:
            raise ValueError(
                "opens_thought = true without tags, so there is no tag to open a thought; name the tags"
            )
        reserved = sorted(set(self.arguments) & _RESERVED)
        if reserved:
            raise ValueError(
                f"arguments.{reserved[0]} is set by Dianoia itself; only what the chat template reads besides the messages "
                "belongs here"
            )
        return self

    @model_validator(mode="after")
    def _texts_hold_their_places(self) -> Self:
        if self.prompt is None:
            return self
        for key, text in (("prompt", self.prompt), ("later", self.later)):
            if text is not None and text.count(QUESTION) != 1:
                raise ValueError(
                    f"{key} holds {QUESTION} {_times(text.count(QUESTION))}, and a prompt shows the question exactly "
                    f"once; write {QUESTION} where it belongs"
                )
        if self.later is not None and SYSTEM in self.later:
            raise ValueError(
                f"later holds {SYSTEM}, and a conversation has one system text, in its first prompt; remove it"
            )
        if self.prompt.count(SYSTEM) > 1 or self.prompt.find(SYSTEM) > self.prompt.find(QUESTION):
            raise ValueError(
                f"prompt holds {SYSTEM} {_times(self.prompt.count(SYSTEM))}, or after {QUESTION}; write it once, "
                "before the question"
            )
        return self

    @model_validator(mode="after")
    def _tags_are_tags(self) -> Self:
        check_tags(self.tags)
        opened = [
            text.rstrip().endswith(self.tags[0])
            for text in (self.prompt, self.later)
            if self.tags and text is not None
        ]
        if len(set(opened)) == 2:
            raise ValueError(
                f"only one of prompt and later ends with {self.tags[0]!r}, so that a response would have to open its "
                "thought after the one and must not after the other; let both end with it, or neither"
            )
        return self


_RESERVED = frozenset(
    {"conversation", "messages", "tools", "documents", "chat_template", "add_generation_prompt", "continue_final_message",
     "tokenize", "sanitize_control_tokens", "padding", "truncation", "max_length", "return_tensors", "return_dict",
     "return_assistant_tokens_mask", "tokenizer_kwargs", "bos_token", "eos_token"}
)  # fmt: skip
"""Parameters of `apply_chat_template` that decide about more than the text of a prompt."""


def check_tags(tags: list[str]) -> None:
    """Raise ValueError unless there are 0, 2 or 4 different tags, none of them blank or a part of another."""
    if len(tags) not in (0, 2, 4):
        raise ValueError(
            f"tags = {tags} has {len(tags)} of them; write two, around the thought, or four, around the thought and "
            'around the answer, such as ["<think>", "</think>", "<answer>", "</answer>"]'
        )
    for number, tag in enumerate(tags):
        # A blank before or after a tag would be lost where texts are stripped.
        if not tag or tag != tag.strip():
            raise ValueError(
                f"tags[{number}] = {tag!r} is blank or has blanks around it; write the tag alone"
            )
        if any(tag in other for index, other in enumerate(tags) if index != number):
            raise ValueError(
                f"tags[{number}] = {tag!r} is a part of another tag, so that the two cannot be told apart; rename one"
            )


def _times(count: int) -> str:
    return {0: "nowhere", 1: "once", 2: "twice"}.get(count, f"{count} times")
