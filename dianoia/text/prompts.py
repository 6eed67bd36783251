"""Turns messages into the token ids of prompts: the only way from a conversation to a model's input.

In: a tokenizer, a template, and turns of a conversation. Out: the ids of the prompt after which a model answers
(`Prompts.__call__`: `rl`, `sample`, `evaluate`, `preferences`), or the ids of a whole conversation in parts, of which a
part is learnt (`Prompts.samples`: `sft`), or those that a reward model reads (`Prompts.scored`). The ids before an answer are
the same in the first two, so that no two stages of a recipe see different prompts. Not here: text (`text.dialogue`, `text.chat_format`), decoding and end tokens of sampling (`sampler.rollouts`).
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from dianoia.base.records import Conversation, Turn
from dianoia.text.chat_format import ChatTemplate
from dianoia.text.dialogue import Part, Piece, prompt_of, samples_of
from dianoia.text.template import Template
from dianoia.text.visible import with_part

log = logging.getLogger(__name__)


class PromptTokenizer(Protocol):
    """The part of a tokenizer of transformers that prompts need; this room imports no transformers."""

    def __call__(self, text: Any, *, add_special_tokens: bool = True) -> Any:
        """Return `input_ids` of a text, or of each text of a list."""
        ...

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        """Return the tokens of ids, for messages."""
        ...


_PREFIXES: WeakKeyDictionary[PromptTokenizer, list[int]] = WeakKeyDictionary()
"""The ids that each tokenizer adds before a text."""


@dataclass(frozen=True, slots=True)
class TokenPiece:
    """The ids of a piece of a conversation, with the end token of an answer."""

    ids: list[int]
    part: Part


class Prompts:
    """Prompts for one tokenizer under one template."""

    def __init__(self, tokenizer: Any, template: Template, stop_ids: Collection[int] = ()) -> None:
        """`stop_ids` end a sample; where the tokenizer has no end token, the smallest of them ends an answer.

        Raises ConfigError for a tokenizer without the chat template that `template` asks for.
        """
        self.tokenizer = tokenizer
        self._chat = ChatTemplate(tokenizer, template) if template.chat else None
        self.template = template if self._chat is None else self._chat.template
        end: int | None = tokenizer.eos_token_id
        # The smallest, so that the choice does not depend on the order of a set.
        self.end_id = min(stop_ids, default=-1) if end is None else end
        """Ends an answer: learnt by `sft`, and written behind earlier answers of a text template."""
        if self._chat is not None and self._chat.end_text is not None:
            self.end_id = int(tokenizer.convert_tokens_to_ids(self._chat.end_text))
        self.stop_ids = frozenset((*stop_ids, self.end_id))
        """End a sample."""

    def __call__(
        self, conversations: Sequence[Sequence[Turn]], sources: Sequence[str] = ()
    ) -> list[tuple[int, ...]]:
        """Return the prompt of each conversation; its last turn is the user's. `sources` name them in messages.

        Raises ConfigError for a conversation with a message that a chat template has no place for.
        """
        if self._chat is not None:
            return [tuple(ids) for ids in self._bare(self._chat_prompts(conversations, sources))]
        encoded = self._encoded([prompt_of(messages, self.template) for messages in conversations])
        return [tuple(token for piece in pieces for token in piece.ids) for pieces in encoded]

    def samples(
        self, conversations: Sequence[Conversation], keep_thoughts: bool = False
    ) -> list[list[list[TokenPiece]]]:
        """Return the pieces of each sample of each conversation, see `dialogue.samples_of`.

        A chat template decides by itself which thoughts it keeps. Where it shows an earlier answer otherwise than it was
        learnt, another sample begins.
        """
        if self._chat is not None:
            return [self._chat_samples(conversation, self._chat) for conversation in conversations]
        samples = [samples_of(item, self.template, keep_thoughts) for item in conversations]
        # All samples in one call, then dealt out again in the same order.
        encoded = iter(self._encoded([sample for members in samples for sample in members]))
        return [[next(encoded) for _ in members] for members in samples]

    def scored(
        self, conversations: Sequence[Sequence[Turn]], parts: Sequence[str]
    ) -> list[tuple[int, ...]]:
        """Return the ids that a reward model reads: each conversation up to the question, then the visible part of its response."""
        pairs = list(zip(conversations, parts, strict=True))
        if self._chat is not None:
            texts = [
                self._chat.whole([*turns, Turn("assistant", part)], "a prompt to score")
                for turns, part in pairs
            ]
            return [tuple(ids) for ids in self._bare(texts)]
        texts = [with_part(self.template, self._prompt_text(turns), part) for turns, part in pairs]
        return [tuple(ids) for ids in self.tokenizer(texts)["input_ids"]] if texts else []

    # Chat templates ------------------------------------------------------------------------------

    def _bare(self, texts: list[str]) -> list[list[int]]:
        """Tokenize texts that hold their special tokens themselves."""
        return list(self.tokenizer(texts, add_special_tokens=False)["input_ids"]) if texts else []

    def _chat_prompts(
        self, conversations: Sequence[Sequence[Turn]], sources: Sequence[str]
    ) -> list[str]:
        assert self._chat is not None
        names = sources or ["a conversation"] * len(conversations)
        pairs = zip(conversations, names, strict=True)
        return [self._chat.prompt(turns, name) for turns, name in pairs]

    def _chat_samples(
        self, conversation: Conversation, chat: ChatTemplate
    ) -> list[list[TokenPiece]]:
        turns, source = conversation.turns, conversation.source
        samples: list[list[TokenPiece]] = []
        ids: list[int] = []
        for index, turn in enumerate(turns):
            if turn.role != "assistant" or index < conversation.first_learnt:
                continue
            prompt = chat.prompt(turns[:index], source)
            response = chat.response(turns[: index + 1], prompt, source)
            prompt_ids, response_ids = self._bare([prompt, response])
            # As long as a prompt begins with all that was learnt before, one sample holds both.
            # Compared as ids and not as text: a tokenizer may join the end of one message with the beginning of the next.
            if not (samples and prompt_ids[: len(ids)] == ids):
                samples.append([])
                ids = []
            samples[-1] += [
                TokenPiece(prompt_ids[len(ids) :], Part.PROMPT),
                TokenPiece([*response_ids, self.end_id], Part.RESPONSE),
            ]
            ids = [*prompt_ids, *response_ids, self.end_id]
        return samples

    # Text templates ------------------------------------------------------------------------------

    def _prompt_text(self, turns: Sequence[Turn]) -> str:
        """Return a prompt as text, with the end token behind earlier answers."""
        end = self.tokenizer.eos_token or ""
        pieces = prompt_of(turns, self.template)
        return "".join(piece.text + end * (piece.part is not Part.PROMPT) for piece in pieces)

    def _encoded(self, samples: Sequence[Sequence[Piece]]) -> list[list[TokenPiece]]:
        """Tokenize every piece by itself: a sampler meets a prompt first, then its own answer."""
        # Two calls of the tokenizer for the whole batch: first pieces with the prefix, later ones without.
        firsts = iter(encode_prompts(self.tokenizer, [sample[0].text for sample in samples]))
        texts = [piece.text for sample in samples for piece in sample[1:]]
        later = iter(self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else ())
        return [[*self._pieces(sample, next(firsts), later)] for sample in samples]

    def _pieces(
        self, sample: Sequence[Piece], first: list[int], later: Iterator[list[int]]
    ) -> Iterator[TokenPiece]:
        yield TokenPiece(list(first), sample[0].part)
        for piece in sample[1:]:
            ids = list(next(later))
            yield TokenPiece(ids if piece.part is Part.PROMPT else [*ids, self.end_id], piece.part)


def encode_prompts(tokenizer: PromptTokenizer, prompts: list[str]) -> list[list[int]]:
    """Return the token ids of prompts, with the ids that the tokenizer adds before a text, once, and none after it.

    Some tokenizers add their end token after every text. A model that continues from there would begin another
    text.
    """
    if not prompts:
        return []
    bare: list[list[int]] = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    prefix = added_prefix(tokenizer)
    # A template may write the prefix itself, such as <s>.
    return [ids if prefix == ids[: len(prefix)] else [*prefix, *ids] for ids in bare]


def added_prefix(tokenizer: PromptTokenizer) -> list[int]:
    """Return the ids that a tokenizer adds before every text; warn once about those that it adds after it."""
    if tokenizer in _PREFIXES:
        return _PREFIXES[tokenizer]
    # Find "a" by itself within "a" with special tokens.
    bare: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole: list[int] = tokenizer("a")["input_ids"]
    starts = range(len(whole) - len(bare) + 1)
    start = next((i for i in starts if whole[i : i + len(bare)] == bare), 0)
    suffix = whole[start + len(bare) :]
    if suffix:
        log.warning(
            "The tokenizer adds %s after every text; prompts go without it.",
            " ".join(map(str, tokenizer.convert_ids_to_tokens(suffix))),
        )
    _PREFIXES[tokenizer] = whole[:start]
    return whole[:start]
