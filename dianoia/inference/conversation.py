"""One conversation with a model, kept by the program that leads it: turns, and answers while they are sampled.

In: a model and questions. Out: `Piece`s of an answer as they come, then an `Exchange`. Earlier answers go into a prompt without
their thoughts, as R1's chat template has it. Not here: how a conversation is shown (`cli.chat`). Imports PyTorch.
"""

import json
import secrets
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from dianoia.base.errors import ConfigError
from dianoia.base.files import write_text
from dianoia.base.records import Turn
from dianoia.inference.chat_messages import turns_of
from dianoia.inference.chat_settings import Settings
from dianoia.inference.generation import Finish, GenerationRequest
from dianoia.inference.live_engine import Engine
from dianoia.inference.loaded_model import Model, asked_key
from dianoia.inference.thought_stream import Parts, ThoughtStream

_SEED_BITS = 32


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer that has just come."""

    kind: Literal["thought", "content"]
    text: str


@dataclass(slots=True)
class Exchange:
    """A question and its answer, as far as it came."""

    question: str
    model: str
    seed: int
    thought: str = ""
    content: str = ""
    finish: Finish | None = None
    """None while the answer is sampled."""
    tokens: int = 0
    thought_tokens: int = 0
    seconds: float = 0.0
    thought_seconds: float = 0.0
    regenerated: int = 0
    """How many answers to the question came before and were dropped."""

    def add(self, parts: Parts) -> Iterator[Piece]:
        """Add what has come, and yield it."""
        if parts.thought:
            self.thought += parts.thought
            self.thought_seconds = self.seconds
            yield Piece("thought", parts.thought)
        if parts.content:
            self.content += parts.content
            yield Piece("content", parts.content)


@dataclass(slots=True)
class Conversation:
    """A conversation with one model at a time."""

    engine: Engine
    model: Model
    settings: Settings = field(default_factory=Settings)
    exchanges: list[Exchange] = field(default_factory=list)

    def ask(self, question: str, regenerated: int = 0) -> Generator[Piece]:
        """Yield the answer in pieces; it joins the conversation, whether it comes to its end or the iterator is closed.

        Raises ConfigError for a question that does not fit, and for settings out of range; the conversation is as before then.
        """
        settings = self.settings
        seed = secrets.randbits(_SEED_BITS) if settings.seed is None else settings.seed
        # A fixed seed would draw the dropped answer again.
        seed += regenerated if settings.seed is not None else 0
        request = self._request(question, seed)
        generation = self.engine.submit(self.model.name, request)
        exchange = Exchange(question, self.model.name, seed, regenerated=regenerated)
        # Only now: a question that the engine refuses leaves the conversation as it was.
        self.exchanges.append(exchange)
        began = time.monotonic()
        split = ThoughtStream(self.model.template, self.model.opens_thought(request.prompt_ids))
        try:
            for delta in generation:
                exchange.tokens = generation.completion_tokens
                exchange.seconds = time.monotonic() - began
                yield from exchange.add(split.push(delta.text))
                if delta.finish is not None:
                    yield from exchange.add(split.finish())
                exchange.finish = delta.finish
        finally:
            # Also when the iterator is closed half-way, which Ctrl-C in the chat does.
            if exchange.finish is None:
                generation.cancel()
                exchange.finish = Finish.CANCELLED
            exchange.tokens = generation.completion_tokens
            exchange.seconds = time.monotonic() - began
            exchange.thought_tokens = self._count(exchange.thought)

    def regenerate(self) -> Generator[Piece]:
        """Drop the last answer and yield another one to its question.

        Raises ConfigError if there is none, and as `ask`; the old answer is kept then.
        """
        if not self.exchanges:
            raise ConfigError("there is no answer yet that could be written again; ask something")
        # Taken out before the question is asked again: the new prompt must not hold the old answer.
        last = self.exchanges.pop()
        before = len(self.exchanges)
        try:
            yield from self.ask(last.question, last.regenerated + 1)
        except ConfigError:
            # `ask` fails before it appends; after that the new exchange is the answer.
            if len(self.exchanges) == before:
                self.exchanges.append(last)
            raise

    def turns(self) -> list[Turn]:
        """Return the conversation so far, as messages; an answer that did not begin takes its question with it."""
        turns = [Turn("system", self.settings.system)] if self.settings.system else []
        for exchange in self.exchanges:
            if exchange.content:
                turns += [
                    Turn("user", exchange.question),
                    Turn("assistant", exchange.content, exchange.thought or None),
                ]
        return turns

    def save(self, path: Path) -> None:
        """Write the conversation: as JSON with messages of the OpenAI API, or for another ending than `.json` as Markdown."""
        if path.suffix.lower() == ".json":
            table = {
                "format_version": 1,
                "model": self.model.name,
                "source": self.model.checkpoint.source,
                "settings": asdict(self.settings),
                "messages": [*self._messages()],
            }
            write_text(path, json.dumps(table, ensure_ascii=False, indent=2) + "\n")
            return
        parts = [f"# Conversation with {self.model.name}"]
        if self.settings.system:
            parts.append(f"**System:** {self.settings.system}")
        for exchange in self.exchanges:
            thought = "\n".join(f"> {line}" for line in exchange.thought.splitlines())
            parts += [f"**Question:** {exchange.question}", thought, exchange.content]
        write_text(path, "\n\n".join(part for part in parts if part) + "\n")

    # Parts of an answer ----------------------------------------------------------------------------

    def _request(self, question: str, seed: int) -> GenerationRequest:
        settings = self.settings
        # Without history every question is the first one, under the same system text.
        earlier = self.turns() if settings.history else self.turns()[: bool(settings.system)]
        turns = turns_of([*earlier, Turn("user", question)])
        (prompt_ids,) = self.model.prompts([turns], ["this conversation"])
        params = self.model.sampling_params(
            len(prompt_ids),
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=settings.top_k,
            max_tokens=settings.max_tokens,
        )
        return GenerationRequest(prompt_ids, params, asked_key(seed))

    def _count(self, thought: str) -> int:
        return len(self.model.tokenizer(thought, add_special_tokens=False)["input_ids"])

    def _messages(self) -> Iterator[dict[str, str]]:
        for turn in self.turns():
            message = {"role": turn.role, "content": turn.text}
            yield (
                message if turn.thought is None else {**message, "reasoning_content": turn.thought}
            )
