"""Scores by reward models from elsewhere: chat templates, plain text, batches, padding."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForSequenceClassification,
)

from dianoia.base.errors import ModelError
from dianoia.base.records import Turn
from dianoia.judge.reward_model_scores import RewardModel
from dianoia.learner.reward_model_folder import Outlook, prepare_padding, save_reward_model
from dianoia.text.template import TEMPLATES

SPECIAL = ["<pad>", "<end>", "<unk>", "<user>", "<assistant>", "<think>", "</think>"]
WORDS = [*SPECIAL, "why", "because", "so", "long"]
CHAT = "{% for m in messages %}<{{ m.role }}> {{ m.content }} <end> {% endfor %}"


def tokenizer(**options: str) -> PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", **options)


@pytest.fixture
def model() -> Qwen3ForSequenceClassification:
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "head_dim": 4}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "initializer_range": 0.5}
    config = Qwen3Config(vocab_size=len(WORDS), num_labels=1, **sizes, **heads)
    return Qwen3ForSequenceClassification(config).eval()


def by_hand(model: Qwen3ForSequenceClassification, text: str) -> float:
    ids = torch.tensor([[WORDS.index(word) for word in text.split()]])
    with torch.no_grad():
        state = model.model(ids).last_hidden_state[0, -1]
        return float(model.score(state))


QUESTIONS = ["why", "so", "why"]
PROMPTS = [[Turn("user", question)] for question in QUESTIONS]
RESPONSES = ["because", "<think> long </think> so", "so so so"]


def test_a_model_from_elsewhere_sees_everything(model: Qwen3ForSequenceClassification) -> None:
    scores = RewardModel(model, tokenizer(pad_token="<pad>")).score(PROMPTS, RESPONSES)
    texts = [f"{p}\n{r}" for p, r in zip(QUESTIONS, RESPONSES, strict=True)]
    assert scores == pytest.approx([by_hand(model, text) for text in texts], abs=1e-6)


def test_a_chat_template_is_used(model: Qwen3ForSequenceClassification) -> None:
    words = tokenizer(pad_token="<pad>")
    words.chat_template = CHAT
    scores = RewardModel(model, words).score(PROMPTS, RESPONSES)
    chats = [
        f"<user> {p} <end> <assistant> {r} <end>" for p, r in zip(QUESTIONS, RESPONSES, strict=True)
    ]
    assert scores == pytest.approx([by_hand(model, chat) for chat in chats], abs=1e-6)


BEFORE = [Turn("system", "long"), Turn("user", "so"), Turn("assistant", "because")]


def test_the_messages_before_a_question_are_read(model: Qwen3ForSequenceClassification) -> None:
    """By a chat template as messages; else one after the other, an earlier answer with its end token."""
    words = tokenizer(pad_token="<pad>", eos_token="<end>")
    prompt = [*BEFORE, Turn("user", "why")]
    (plain,) = RewardModel(model, words).score([prompt], ["so"])
    assert plain == pytest.approx(by_hand(model, "long so because <end> why so"), abs=1e-6)
    words.chat_template = CHAT
    (chat,) = RewardModel(model, words).score([prompt], ["so"])
    text = "<unk> long <end> <user> so <end> <assistant> because <end> <user> why <end> <assistant> so <end>"
    assert chat == pytest.approx(by_hand(model, text), abs=1e-6)


def test_our_own_says_what_it_sees(model: Qwen3ForSequenceClassification, tmp_path: Path) -> None:
    words = tokenizer(eos_token="<end>")
    words.chat_template = CHAT
    prepare_padding(model, words)
    assert words.pad_token == "<end>" and words.padding_side == "right"
    save_reward_model(tmp_path / "helpful", model, words, Outlook(TEMPLATES["plain"], "answer"))
    again = RewardModel.load(tmp_path / "helpful")
    texts = ["why because", "so so", "why so so so"]
    expected = [by_hand(model, text) for text in texts]
    assert again.score(PROMPTS, RESPONSES) == pytest.approx(expected, abs=1e-6)


def test_a_tokenizer_that_cannot_pad(model: Qwen3ForSequenceClassification) -> None:
    with pytest.raises(ModelError, match="neither a padding nor an end token"):
        RewardModel(model, tokenizer())


def test_every_response_needs_a_prompt(model: Qwen3ForSequenceClassification) -> None:
    with pytest.raises(ValueError, match="zip"):
        RewardModel(model, tokenizer(pad_token="<pad>")).score(PROMPTS, RESPONSES[:1])
