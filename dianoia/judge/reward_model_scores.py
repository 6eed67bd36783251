"""Scores of responses by a reward model: any sequence classification folder with one label.

In: prompts (conversations up to the question) and responses. Out: one reward per response, a float; only differences mean
anything for a model that was trained on pairs. The configuration of a model made by a `reward_model` stage says what it
sees; a model from elsewhere gets its tokenizer's chat template if it has one, else the prompt, a new
line and the response, each in full. No limit on length, as in the paper (section B.2).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dianoia.base.errors import ModelError
from dianoia.base.limits import CPU_TOKENS
from dianoia.base.records import Turn
from dianoia.learner.attention.shared_prefixes import Ids
from dianoia.learner.reward_learner import Rewarder
from dianoia.learner.reward_model_folder import (
    Outlook,
    load_reward_model,
    outlook_of,
    prepare_padding,
)
from dianoia.models.loading import load_tokenizer
from dianoia.text.prompts import Prompts
from dianoia.text.template import TEMPLATES, Template
from dianoia.text.visible import visible_part

_FOREIGN = Outlook(TEMPLATES["plain"], sees="response")


def encode(
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
    prompts: Sequence[Sequence[Turn]],
    parts: Sequence[str],
) -> list[Ids]:
    """Return the token ids of each prompt in its template, followed by the visible part of its response."""
    return Prompts(tokenizer, template).scored(prompts, parts)


def _chat(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Turn], response: str) -> Ids:
    messages = [{"role": turn.role, "content": turn.text} for turn in prompt]
    messages.append({"role": "assistant", "content": response})
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False)
    except Exception as error:  # a chat template may raise anything
        roles = ", ".join(dict.fromkeys(message["role"] for message in messages))
        raise ModelError(
            f"The chat template of the reward model {tokenizer.name_or_path!r} cannot be used for messages of "
            f"{roles} ({type(error).__name__}: {str(error)[:200]}); fix chat_template, or remove it to have "
            "the prompt and the response one after the other"
        ) from error
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


class RewardModel:
    """A trained reward model with its tokenizer."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        tokens_per_batch: int = 16_384,
    ) -> None:
        """`tokens_per_batch` counts padded positions; it changes memory and speed only."""
        prepare_padding(model, tokenizer)
        self.tokenizer, self.outlook = tokenizer, outlook_of(model)
        # Small batches are faster on a CPU; on a GPU the caller's limit holds.
        limit = CPU_TOKENS if model.device.type == "cpu" else tokens_per_batch
        self._rewards = Rewarder(model, min(limit, tokens_per_batch))

    @classmethod
    def load(cls, source: str | Path, device: torch.device | str = "cpu") -> "RewardModel":
        """Load a model by folder or hub name. Raises ModelError if it is no reward model."""
        return cls(load_reward_model(source, device), load_tokenizer(source))

    def score(self, prompts: Sequence[Sequence[Turn]], responses: Sequence[str]) -> list[float]:
        """Return the reward of each response to its prompt; it does not depend on the other pairs of the call."""
        return self._rewards(self._encode(prompts, responses))

    def _encode(self, prompts: Sequence[Sequence[Turn]], responses: Sequence[str]) -> list[Ids]:
        # A model from elsewhere was trained on conversations in its own chat template.
        if self.outlook is None and self.tokenizer.chat_template:
            pairs = zip(prompts, responses, strict=True)
            return [_chat(self.tokenizer, prompt, response) for prompt, response in pairs]
        # The template and part that the model was trained on, else the plain template and the whole response.
        view = self.outlook or _FOREIGN
        parts = [visible_part(response, view.sees, view.template.tags) for response in responses]
        return encode(self.tokenizer, view.template, prompts, parts)
