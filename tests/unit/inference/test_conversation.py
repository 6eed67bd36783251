"""A conversation with the small shipped model: settings, history, stopping, another answer, saving."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError
from dianoia.base.records import Turn
from dianoia.inference.chat_messages import turns_of
from dianoia.inference.chat_settings import Settings
from dianoia.inference.conversation import Conversation, Exchange
from dianoia.inference.generation import Finish
from dianoia.inference.live_engine import Engine
from dianoia.inference.loaded_model import Model, load
from dianoia.text.template import TEMPLATES

QUESTION = "Lily faces east. Turns: a right, b back, c right. Which way now?"


@pytest.fixture(scope="module")
def model() -> Model:
    return load("miniature-base-small", slots=2)


@pytest.fixture(scope="module")
def engine(model: Model) -> Iterator[Engine]:
    with Engine({model.name: model}) as engine:
        yield engine


@pytest.fixture
def conversation(engine: Engine, model: Model) -> Conversation:
    return Conversation(engine, model, Settings(seed=3))


def ask(conversation: Conversation, question: str = QUESTION) -> Exchange:
    for _ in conversation.ask(question):
        pass
    return conversation.exchanges[-1]


def test_an_answer_is_the_one_that_the_model_gives_under_the_same_seed(
    conversation: Conversation, model: Model
) -> None:
    pieces = [*conversation.ask(QUESTION)]
    exchange = conversation.exchanges[-1]
    (response,) = model.ask(QUESTION, seed=3)
    assert exchange.content == response.content
    assert exchange.thought == (response.thought or "")
    assert (exchange.tokens, exchange.thought_tokens) == (response.tokens, response.thought_tokens)
    assert exchange.finish is Finish.STOP
    assert "".join(piece.text for piece in pieces if piece.kind == "content") == exchange.content
    assert "".join(piece.text for piece in pieces if piece.kind == "thought") == exchange.thought


def test_a_prompt_may_open_the_thought(model: Model) -> None:
    """As some chat templates do: what comes before the tag that closes it is thought."""
    prefilled = TEMPLATES["r1-zero-prefilled"]
    turns = turns_of([Turn("user", QUESTION)])
    for template, opened in ((prefilled, True), (model.template, False)):
        (prompt_ids,) = model.prompts_under(template)([turns], ["a question"])
        assert model.opens_thought(prompt_ids, template) == opened
    (response,) = model.ask(QUESTION, seed=3, template=prefilled)
    assert response.thought is not None


def test_earlier_answers_go_into_the_prompt_without_their_thoughts(
    conversation: Conversation,
) -> None:
    conversation.exchanges = [Exchange("2+3?", "m", 0, thought="2+3=5", content="5")]
    sent = conversation._request("4+4?", 0).prompt_ids
    text = conversation.model.decode(sent)
    assert "2+3?" in text and "4+4?" in text
    assert "2+3=5" not in text
    conversation.settings = replace(conversation.settings, history=False, system="Be brief.")
    text = conversation.model.decode(conversation._request("4+4?", 0).prompt_ids)
    assert "2+3?" not in text and "Be brief." in text


def test_a_closed_answer_is_kept_as_far_as_it_came_and_the_next_is_whole(
    conversation: Conversation,
) -> None:
    conversation.settings = Settings(temperature=2.0, max_tokens=900, seed=5)
    with closing(conversation.ask("Tell me a story.")) as pieces:
        first = next(pieces)
    stopped = conversation.exchanges[-1]
    assert stopped.finish is Finish.CANCELLED
    assert (stopped.content + stopped.thought).startswith(first.text)
    conversation.settings = Settings(seed=3, history=False)
    assert ask(conversation).finish is Finish.STOP


def test_another_answer_takes_the_place_of_the_last_one(conversation: Conversation) -> None:
    conversation.settings = Settings(temperature=1.0, seed=3)
    first = ask(conversation)
    for _ in conversation.regenerate():
        pass
    (second,) = conversation.exchanges
    # Under a fixed seed the next one is drawn, and not the same answer again.
    assert (first.seed, second.seed, second.regenerated) == (3, 4, 1)
    assert second.question == first.question


def test_a_question_that_does_not_fit_leaves_the_conversation_as_it_was(
    conversation: Conversation,
) -> None:
    answered = ask(conversation)
    with pytest.raises(ConfigError, match="positions"):
        next(conversation.ask("word " * 2000))
    conversation.settings = Settings(max_tokens=10_000)
    with pytest.raises(ConfigError, match="max_tokens"):
        next(conversation.regenerate())
    assert conversation.exchanges == [answered]
    with pytest.raises(ConfigError, match="no answer yet"):
        next(Conversation(conversation.engine, conversation.model).regenerate())


def test_a_saved_conversation_holds_messages_of_the_api(
    conversation: Conversation, tmp_path: Path
) -> None:
    conversation.settings = Settings(system="Be brief.", temperature=0.5)
    conversation.exchanges = [Exchange("2+3？", "m", 0, thought="2+3=5", content="5"), Exchange("stopped at once", "m", 0)]  # fmt: skip
    conversation.save(tmp_path / "chat.json")
    saved = json.loads((tmp_path / "chat.json").read_text(encoding="utf-8"))
    assert saved["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2+3？"},
        {"role": "assistant", "content": "5", "reasoning_content": "2+3=5"},
    ]
    assert (saved["model"], saved["settings"]["temperature"]) == ("miniature-base-small", 0.5)
    conversation.save(tmp_path / "chat.md")
    text = (tmp_path / "chat.md").read_text(encoding="utf-8")
    assert "**Question:** 2+3？\n\n> 2+3=5\n\n5\n" in text
    assert conversation.turns()[0] == Turn("system", "Be brief.")
