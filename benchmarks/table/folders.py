"""Model folders of the cases: a Qwen3 with random weights and a tokenizer of numbered words, the same every time."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from benchmarks.table.cases import Case


def path_of(size: Case, folder: Path) -> Path:
    """Return the path at which `model_folder` writes the case's model."""
    lengths = "fixed" if size.mean is None else f"mean{size.mean}"
    return folder / f"h{size.hidden}-l{size.layers}-v{size.vocabulary}-{lengths}"


def model_folder(size: Case, folder: Path) -> Path:
    """Write model and tokenizer and return their path."""
    path = path_of(size, folder)
    model_of(size).save_pretrained(path)
    tokenizer_of(size).save_pretrained(path)
    return path


def tokenizer_of(size: Case) -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token per word `w0`, `w1`, ...; `w0` is padding, `<end>` the end-of-text token."""
    ids = {f"w{index}": index for index in range(size.vocabulary)}
    # The end token takes the place of the word with its id.
    ids = {word: index for word, index in ids.items() if index != size.end} | {"<end>": size.end}
    # Words are split at blanks, so a text of n words is n tokens on both sides.
    inner = Tokenizer(models.WordLevel(ids, unk_token="w1"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>", pad_token="w0")


def config_of(size: Case) -> Qwen3Config:
    """Return a configuration with an MLP 4 times as wide as the model, heads of 32, two query heads per key head, and a
    tied output head.
    """
    heads = size.hidden // 32
    config = Qwen3Config(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        head_dim=32,
        intermediate_size=4 * size.hidden,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    # An end token beyond the vocabulary is never drawn: completions of a fixed length.
    can_end = size.end < size.vocabulary
    config.eos_token_id, config.pad_token_id = size.end if can_end else None, 0
    return config


def model_of(size: Case) -> Qwen3ForCausalLM:
    """Return the case's model in float32 and evaluation mode."""
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(config_of(size))
    model.train(False)
    if size.mean is not None:
        _end_at_random(model, 1 / size.mean)
    model.generation_config.eos_token_id = size.end
    model.generation_config.pad_token_id = 0
    return model


@torch.no_grad()
def _end_at_random(model: Qwen3ForCausalLM, probability: float) -> None:
    """Give the last token this probability, about the same after every text.

    Dimension 0 of the residual stream becomes a constant that no layer writes to. It is much larger than the other
    dimensions, so that it is constant after the last norm too. The last token's embedding in that dimension then sets
    its logit; bisection finds the value.
    """
    table = model.model.embed_tokens.weight
    # The embedding writes the constant; attention and MLP write nothing to it.
    table[:, 0] = 1.0
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight[0] = 0.0
        layer.mlp.down_proj.weight[0] = 0.0
    # Random texts stand for all: the probability hardly depends on the text.
    ids = torch.randint(1, table.shape[0] - 1, (32, 64))
    states = model.model(ids).last_hidden_state.flatten(0, 1)
    logits = states @ table.T
    low, high = 0.0, 10.0
    # Forty halvings of an interval of 10: float32 has no finer value.
    for _ in range(40):
        middle = (low + high) / 2
        below = float(_mean_probability(logits, middle * states[:, 0])) < probability
        low, high = (middle, high) if below else (low, middle)
    table[-1, 0] += low


def _mean_probability(logits: Tensor, added: Tensor) -> Tensor:
    """Return the mean probability of the last token with `added` to its logits."""
    changed = torch.cat([logits[:, :-1], (logits[:, -1] + added)[:, None]], 1)
    return changed.softmax(1)[:, -1].mean()


def two_models(case: dict[str, Any], folder: str) -> dict[str, str]:
    """Write a model and a copy whose weights differ by about 5 %, as after some training steps; return both paths."""
    reference = model_folder(Case(**case), Path(folder))
    policy = reference.with_name(reference.name + "-moved")
    model = Qwen3ForCausalLM.from_pretrained(reference, dtype=torch.float32)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.05 * weight.abs().mean() * torch.randn_like(weight)
    model.save_pretrained(policy)
    AutoTokenizer.from_pretrained(reference).save_pretrained(policy)
    return {"policy": str(policy), "reference": str(reference)}
