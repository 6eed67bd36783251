"""Model folders for the cases: a Qwen3 with random weights and a tokenizer of numbered words, the same every time."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from benchmarks.table.cases import Case


def place_of(chosen: Case, folder: Path) -> Path:
    """Where `model_folder` puts the case's model."""
    law = "fixed" if chosen.mean is None else f"mean{chosen.mean}"
    return folder / f"h{chosen.hidden}-l{chosen.layers}-v{chosen.vocabulary}-{law}"


def model_folder(chosen: Case, folder: Path) -> Path:
    """Write model and tokenizer; returns where."""
    place = place_of(chosen, folder)
    model_of(chosen).save_pretrained(place)
    tokenizer_of(chosen).save_pretrained(place)
    return place


def tokenizer_of(chosen: Case) -> PreTrainedTokenizerFast:
    """A token a word `w0`, `w1`, ...; `w0` is padding, and the case's end-of-text id has a word of its own."""
    ids = {f"w{index}": index for index in range(chosen.vocabulary)}
    ids = {word: index for word, index in ids.items() if index != chosen.end} | {
        "<end>": chosen.end
    }
    inner = Tokenizer(models.WordLevel(ids, unk_token="w1"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>", pad_token="w0")


def config_of(chosen: Case) -> Qwen3Config:
    """Four times as wide inside as outside, heads of 32, two query heads a key head, embedding and head in one."""
    heads = chosen.hidden // 32
    config = Qwen3Config(
        vocab_size=chosen.vocabulary,
        hidden_size=chosen.hidden,
        num_hidden_layers=chosen.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        head_dim=32,
        intermediate_size=4 * chosen.hidden,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    inside = chosen.end < chosen.vocabulary
    config.eos_token_id, config.pad_token_id = chosen.end if inside else None, 0
    return config


def model_of(chosen: Case) -> Qwen3ForCausalLM:
    """In float32 and evaluation mode."""
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(config_of(chosen))
    model.train(False)
    if chosen.mean is not None:
        _end_at_random(model, 1 / chosen.mean)
    model.generation_config.eos_token_id = chosen.end
    model.generation_config.pad_token_id = 0
    return model


@torch.no_grad()
def _end_at_random(model: Qwen3ForCausalLM, wanted: float) -> None:
    """Give the last token that probability, about the same after every text.

    Dimension 0 of the residual stream becomes a constant that no layer writes to, and much larger than what else is in
    the stream, so that it is constant after the last norm too; how far the end's embedding goes along it sets its logit.
    """
    table = model.model.embed_tokens.weight
    table[:, 0] = 1.0
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight[0] = 0.0
        layer.mlp.down_proj.weight[0] = 0.0
    ids = torch.randint(1, table.shape[0] - 1, (32, 64))
    states = model.model(ids).last_hidden_state.flatten(0, 1)
    logits = states @ table.T
    low, high = 0.0, 10.0
    for _ in range(40):
        middle = (low + high) / 2
        below = float(_chance(logits, middle * states[:, 0])) < wanted
        low, high = (middle, high) if below else (low, middle)
    table[-1, 0] += low


def _chance(logits: Tensor, added: Tensor) -> Tensor:
    """Mean probability of the last token with something added to its logit."""
    changed = torch.cat([logits[:, :-1], (logits[:, -1] + added)[:, None]], 1)
    return changed.softmax(1)[:, -1].mean()


def two_models(case: dict[str, Any], folder: str) -> dict[str, str]:
    """A model that drew completions, and one a few steps on, whose weights differ by a twentieth."""
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
