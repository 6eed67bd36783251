"""Turns a conversation into the pieces of text that a model reads and learns to write.

In: a `Conversation` and a template. Out: pieces in order, each a prompt, a response to learn, or an earlier
answer that is read but not learnt. Pieces are tokenized one by one, because a sampler meets them that way: first
the prompt, then its own response. Not here: tokenization and the end token.

Decisions where DeepSeek-R1 is silent (its released chat template strips earlier thoughts):
1. Every assistant turn is learnt. If earlier thoughts are stripped, a conversation with n such turns becomes n
   samples: turn k after turns 1 to k - 1 without their thoughts. A single sequence would either teach answers
   without a thought, or show thoughts that the model will never see when it is sampled.
2. Stripping removes everything up to the tag that closes the thought, and the space after it.
3. A system message comes at its place in the template's prompt, or before it on a line of its own. Without one there
   is the template's own system text, if it has any.
4. If neither the prompt ends nor the response begins with white space, one space is put between.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dianoia.base.records import Conversation, Turn
from dianoia.text.template import Tags, Template


class Part(StrEnum):
    """The role of a piece of text in training."""

    PROMPT = "prompt"
    """Read, not learnt."""
    CONTEXT = "context"
    """An earlier answer: read, not learnt, followed by the end token."""
    RESPONSE = "response"
    """Learnt, and followed by the end token, which is learnt too."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of text that is tokenized by itself."""

    text: str
    part: Part


def samples_of(
    conversation: Conversation, template: Template, keep_thoughts: bool = False
) -> list[list[Piece]]:
    """Return the pieces of each sample of a conversation: one sample, or one per assistant turn (decision 1)."""
    turns = conversation.turns
    learnt = [
        index
        for index, turn in enumerate(turns)
        if turn.role == "assistant" and index >= conversation.first_learnt
    ]
    # Only thoughts before the last learnt turn can be stripped.
    earlier = [turn for turn in turns[: learnt[-1]] if turn.role == "assistant"]
    if keep_thoughts or not any(_thinks(turn, template) for turn in earlier):
        return [_pieces(turns[: learnt[-1] + 1], learnt, template, keep_thoughts)]
    # Each sample ends with the one answer that it teaches.
    return [_pieces(turns[: index + 1], [index], template, False) for index in learnt]


def prompt_of(messages: Sequence[Turn], template: Template) -> list[Piece]:
    """Return the pieces of the prompt after which a model answers the last user turn.

    They are those that a sample of `samples_of` has before its last answer.
    """
    return _pieces(messages, (), template, keep_thoughts=False)


def without_thought(text: str, template: Template) -> str:
    """Remove the thought from an answer (decision 2)."""
    # After the last closing tag; a text without one stays whole.
    return text.rpartition(_tags(template).close_thought)[2].lstrip()


def _tags(template: Template) -> Tags:
    """Return the template's tags, or the usual ones: data may have tags even if the template has none."""
    return template.tags or Tags()


def _thinks(turn: Turn, template: Template) -> bool:
    return turn.thought is not None or _tags(template).close_thought in turn.text


def _pieces(
    turns: Sequence[Turn], learnt: Collection[int], template: Template, keep_thoughts: bool
) -> list[Piece]:
    pieces: list[Piece] = []
    system = template.system
    for index, turn in enumerate(turns):
        # A system message waits for the prompt that it belongs to.
        if turn.role == "system":
            system = turn.text
        elif turn.role == "user":
            prompt = template.render(turn.text, later=bool(pieces), system=system)
            pieces.append(Piece(prompt, Part.PROMPT))
            system = ""
        else:
            # An answer without its thought may change the end of its prompt, so both are made together.
            prompt = pieces.pop().text
            pieces += _answer(prompt, turn, index in learnt, template, keep_thoughts)
    return pieces


def _answer(
    prompt: str, turn: Turn, learnt: bool, template: Template, keep_thoughts: bool
) -> tuple[Piece, Piece]:
    """Return the prompt and the answer.

    A prompt that opens a thought loses its tag if the answer is shown without its thought.
    """
    if learnt or (keep_thoughts and _thinks(turn, template)):
        text = written(turn, template)
    else:
        text = turn.text if turn.thought is not None else without_thought(turn.text, template)
        prompt = template.without_opening(prompt)
    # Decision 4: one space, unless either side has white space.
    gap = "" if prompt[-1:].isspace() or text[:1].isspace() else " "
    part = Part.RESPONSE if learnt else Part.CONTEXT
    return Piece(prompt, Part.PROMPT), Piece(gap + text, part)


def written(turn: Turn, template: Template) -> str:
    """Return the whole answer, with its thought in tags."""
    if turn.thought is not None:
        return template.respond(turn.thought, turn.text)
    opening = _tags(template).open_thought
    # The prompt ends with this tag, and a second one would break the template.
    if template.opens_thought and turn.text.lstrip().startswith(opening):
        return turn.text.lstrip().removeprefix(opening)
    return turn.text
