"""From a conversation to the pieces of text that a model reads and learns to write.

In: a `Conversation` and a template. Out: pieces in their order, each a prompt, a response to learn, or an
earlier answer that is read and not learnt. Pieces are tokenized one by one, since that is how a sampler
meets them: the prompt first, then what it writes itself. Left out: tokenization and the end token.

Decisions where DeepSeek-R1 is silent (its released chat template strips earlier thoughts):
1. Every turn of the assistant is learnt. Where earlier thoughts are stripped, a conversation of n such turns
   becomes n samples: turn k after turns 1 to k - 1 without their thoughts. A single sequence would either
   teach to answer without a thought or show thoughts that the model will never see.
2. Stripping removes everything up to the tag that closes the thought, and the space after it.
3. A system message stands before the template's prompt, on a line of its own.
4. Where neither the prompt ends nor the response begins with white space, one space is put between.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from dianoia.base.records import Conversation, Turn
from dianoia.text.template import Tags, Template


class Part(StrEnum):
    """What a piece is to the model."""

    PROMPT = "prompt"
    """Read."""
    CONTEXT = "context"
    """An earlier answer: read, with the end token behind it."""
    RESPONSE = "response"
    """Learnt, with the end token behind it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text that is tokenized by itself."""

    text: str
    part: Part


def samples_of(
    conversation: Conversation, template: Template, keep_thoughts: bool = False
) -> list[list[Piece]]:
    """The pieces of each sample that a conversation gives: one, or one a turn (decision 1)."""
    turns = conversation.turns
    learnt = [
        index
        for index, turn in enumerate(turns)
        if turn.role == "assistant" and index >= conversation.first_learnt
    ]
    earlier = [turn for turn in turns[: learnt[-1]] if turn.role == "assistant"]
    if keep_thoughts or not any(_thinks(turn, template) for turn in earlier):
        return [_pieces(turns[: learnt[-1] + 1], learnt, template, keep_thoughts)]
    return [_pieces(turns[: index + 1], [index], template, False) for index in learnt]


def without_thought(text: str, template: Template) -> str:
    """What is left of an answer once its thought is removed (decision 2)."""
    return text.rpartition(_tags(template).close_thought)[2].lstrip()


def _tags(template: Template) -> Tags:
    """A template without tags may still meet data that has them."""
    return template.tags or Tags()


def _thinks(turn: Turn, template: Template) -> bool:
    return turn.thought is not None or _tags(template).close_thought in turn.text


def _pieces(
    turns: tuple[Turn, ...], learnt: Collection[int], template: Template, keep: bool
) -> list[Piece]:
    pieces: list[Piece] = []
    system = ""
    for index, turn in enumerate(turns):
        if turn.role == "system":
            system = f"{turn.text}\n"
        elif turn.role == "user":
            prompt = system + template.render(turn.text, later=bool(pieces))
            pieces.append(Piece(prompt, Part.PROMPT))
            system = ""
        else:
            pieces += _answer(pieces.pop().text, turn, index in learnt, template, keep)
    return pieces


def _answer(
    prompt: str, turn: Turn, learnt: bool, template: Template, keep: bool
) -> tuple[Piece, Piece]:
    """The prompt, which an answer without its thought may change, and the answer."""
    thinks = _thinks(turn, template)
    whole = learnt or (keep and thinks)
    if whole:
        text = written(turn, template)
    else:
        text = turn.text if turn.thought is not None else without_thought(turn.text, template)
        if template.opens_thought:  # nothing is left to open
            prompt = prompt.removesuffix(_tags(template).open_thought).rstrip(" ")
    gap = "" if prompt[-1:].isspace() or text[:1].isspace() else " "
    part = Part.RESPONSE if learnt else Part.CONTEXT
    return Piece(prompt, Part.PROMPT), Piece(gap + text, part)


def written(turn: Turn, template: Template) -> str:
    """The whole answer, a thought in its tags included."""
    if turn.thought is not None:
        return template.respond(turn.thought, turn.text)
    opening = _tags(template).open_thought
    if template.opens_thought and turn.text.lstrip().startswith(opening):
        return turn.text.lstrip().removeprefix(opening)
    return turn.text
