"""Conversations as the chat template of a model's own tokenizer renders them.

In: a tokenizer, and a `Template` of the kind `chat`. Out: the text of a prompt or of a whole conversation, the token that
ends an answer, and the template with what its tokenizer adds to it. Not here: token ids (`text.prompts`), and Jinja, which
is the tokenizer's own (`apply_chat_template` of transformers).

Decisions:
1. A conversation's own system message comes before the recipe's `system`, which is for conversations without one.
2. What a conversation says has to be in the prompt: a system message, every question, and every earlier answer behind its
   thought. A template that refuses a message, or leaves one out without a word, is refused for that conversation.
   Earlier thoughts may go: whether they do is the template's own affair.
3. A prompt ends with the tag that opens a thought if the template writes it there itself, or else if the recipe says so
   (`opens_thought`); never twice. A template that opens and closes a thought in the prompt, as Qwen3's does with
   `enable_thinking = false`, leaves no place for the thought that `tags` ask for, and is refused with them.
4. The end of an answer is the first special token that the template writes behind it.
5. Text in a message that looks like a special token becomes one, as with `apply_chat_template`. Data of strangers has to
   be cleaned before.
6. The response to learn is what the template makes of the answer, if that holds all of it. Templates that drop the last
   answer's thought too (DeepSeek-R1-Distill) get the answer as it stands in the data, from behind the opened tag.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from dianoia.base.errors import ConfigError
from dianoia.base.records import Turn
from dianoia.text.template import Tags, Template

log = logging.getLogger(__name__)

_SYSTEM = "Whoever answers has to speak of the heron 4711."
_QUESTION, _ANSWER = "Which bird is it, 1234?", "It is the heron, 8642."
"""Texts of probes, which no template writes by itself."""


class ChatTemplate:
    """The chat template of a tokenizer, with the arguments and additions of a recipe's template."""

    def __init__(self, tokenizer: Any, template: Template) -> None:
        """Raises ConfigError for a tokenizer without a chat template, and for tags that it leaves no place for."""
        self.tokenizer, self._asked = tokenizer, template
        self._name = f"template = {template.name!r}"
        if not tokenizer.chat_template:
            raise ConfigError(
                f"{self._name}: the tokenizer of {tokenizer.name_or_path!r} has no chat template, as is usual for a base "
                "model; name a template of text, such as 'r1-zero', or start from the instruct model"
            )
        if (
            "strftime_now" in str(tokenizer.chat_template)
            and "date_string" not in template.arguments
        ):
            log.warning(
                "%s: the chat template of %r writes today's date into the prompt, so that a run of tomorrow differs; set "
                'arguments = { date_string = "26 Jul 2024" } in [templates.NAME].',
                self._name,
                tokenizer.name_or_path,
            )

    @cached_property
    def template(self) -> Template:
        """The recipe's template, with `opens_thought` if a prompt ends with the opening tag (decision 3)."""
        tags = self._asked.tags or Tags()
        if self._asked.system and not self._shows_system:
            raise ConfigError(
                f"{self._name}: the chat template of {self.tokenizer.name_or_path!r} leaves the recipe's `system` out of the "
                f"prompt. {_ADVICE}"
            )
        prompt = self._rendered([Turn("user", _QUESTION)], add_prompt=True).rstrip()
        opens = self._asked.opens_thought or prompt.endswith(tags.open_thought)
        if self._asked.tags is not None and prompt.endswith(tags.close_thought):
            raise ConfigError(
                f"{self._name}: with these arguments ({dict(self._asked.arguments)}) the chat template of "
                f"{self.tokenizer.name_or_path!r} ends its prompt with {tags.close_thought}, behind an empty thought, and "
                "tags ask the response for a thought; let the model think (enable_thinking = true), or remove tags"
            )
        # Without tags nothing is asked of a response, an opened thought included.
        return replace(self._asked, opens_thought=opens and self._asked.tags is not None)

    @cached_property
    def end_text(self) -> str | None:
        """The special token behind an answer; None where the template writes none (decision 4)."""
        after_answer = self._rendered(
            [Turn("user", _QUESTION), Turn("assistant", _ANSWER)], add_prompt=False
        ).rpartition(_ANSWER)[2]
        special = {
            int(number)
            for number, token in self.tokenizer.added_tokens_decoder.items()
            if token.special
        } | set(self.tokenizer.all_special_ids)
        ids: list[int] = self.tokenizer(after_answer, add_special_tokens=False)["input_ids"]
        end = next((token for token in ids if token in special), None)
        # A token that begins a text ends none.
        if end is None or end == self.tokenizer.bos_token_id != self.tokenizer.eos_token_id:
            return None
        return str(self.tokenizer.convert_ids_to_tokens(end))

    # Rendering -----------------------------------------------------------------------------------

    def prompt(self, turns: Sequence[Turn], source: str) -> str:
        """Return the prompt after which a model answers the last turn.

        Raises ConfigError, which names `source`, for a message that the template has no place for (decision 2).
        """
        text = self._rendered(turns, add_prompt=True, source=source)
        self._check_all_there(turns, text, source)
        opening = (self.template.tags or Tags()).open_thought
        if self._asked.opens_thought and not text.rstrip().endswith(opening):
            text += opening
        return text

    def response(self, turns: Sequence[Turn], prompt: str, source: str) -> str:
        """Return the text of the last turn, an answer, as it follows `prompt`; without its end (decision 6)."""
        answer = self._content(turns[-1])
        whole = self._rendered(turns, add_prompt=False, source=source)
        if self.end_text is not None and whole.startswith(prompt):
            # The last end token is the template's own; the answer may hold the same text.
            text, end, _ = whole[len(prompt) :].rpartition(self.end_text)
            if end and all(part in text for part in self._parts(answer)):
                return text
        opening = (self.template.tags or Tags()).open_thought
        if prompt.rstrip().endswith(opening) and answer.lstrip().startswith(opening):
            answer = answer.lstrip().removeprefix(opening)
        # One line break is enough between an opened tag and its thought.
        return answer.lstrip() if prompt[-1:].isspace() else answer

    def whole(self, turns: Sequence[Turn], source: str) -> str:
        """Return a conversation that ends with an answer, as a reward model reads it."""
        text = self._rendered(turns, add_prompt=False, source=source)
        self._check_all_there(turns, text, source)
        return text

    def _rendered(self, turns: Sequence[Turn], *, add_prompt: bool, source: str = "") -> str:
        if self._asked.system and not any(turn.role == "system" for turn in turns):
            turns = [Turn("system", self._asked.system), *turns]
        messages = [{"role": turn.role, "content": self._content(turn)} for turn in turns]
        try:
            text = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=add_prompt, **self._asked.arguments
            )
        except Exception as error:  # a chat template may raise anything
            roles = ", ".join(turn.role for turn in turns)
            raise ConfigError(
                f"{self._name}: the chat template of {self.tokenizer.name_or_path!r} refuses the messages of "
                f"{source or 'a question and its answer'}, in the roles {roles}: {str(error)[:200]}. {_ADVICE}"
            ) from error
        assert isinstance(text, str), "not tokenized"
        return text

    def _content(self, turn: Turn) -> str:
        """Return the whole text of a message; a thought that the data has apart gets tags around it."""
        if turn.thought is None:
            return turn.text
        if self._asked.tags is not None:
            return self._asked.whole(turn.thought, turn.text)
        return (
            f"{Tags().open_thought}\n{turn.thought.strip()}\n{Tags().close_thought}\n\n{turn.text}"
        )

    def _parts(self, answer: str) -> list[str]:
        """Return the parts of an answer that have to stay: its thought and what follows that, white space aside."""
        tags = self._asked.tags or Tags()
        thought, _, final = answer.rpartition(tags.close_thought)
        parts = thought.rpartition(tags.open_thought)[2].strip(), final.strip()
        return [part for part in parts if part]

    def _check_all_there(self, turns: Sequence[Turn], text: str, source: str) -> None:
        """Raise ConfigError for a message of which a rendered conversation holds nothing (decision 2)."""
        for number, turn in enumerate(turns, start=1):
            # Thoughts of earlier answers may be stripped.
            part = self._parts(self._content(turn))[-1:] if turn.role == "assistant" else [turn.text.strip()]  # fmt: skip
            is_lost = any(words not in text for words in part)
            if is_lost or (turn.role == "system" and turn.text and not self._shows_system):
                raise ConfigError(
                    f"{self._name}: the chat template of {self.tokenizer.name_or_path!r} leaves message {number} of "
                    f"{source}, of the role {turn.role!r}, out of the prompt: {turn.text[:80]!r}. {_ADVICE}"
                )

    @cached_property
    def _shows_system(self) -> bool:
        """Return True if a system message stands in the prompt: short ones may be there by chance."""
        probe = [Turn("system", _SYSTEM), Turn("user", _QUESTION)]
        return _SYSTEM in self._rendered(probe, add_prompt=True)


_ADVICE = (
    "The model would answer another conversation than the data holds, so nothing is trained or measured on it; remove these "
    "messages from the data (the recipe's `system` too, if it is refused), put their text into the question, or write a "
    "template of your own as [templates.NAME]"
)
