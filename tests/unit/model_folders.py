"""Small model folders of our own, whole, for tests that then damage them."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

END, BEGIN = "<|end|>", "<|begin|>"
CHARACTERS = [chr(code) for code in range(32, 127)] + ["\n"]


def write_tokenizer(
    folder: Path, *, begins: bool = False, ends: bool = False, spare: int = 0
) -> None:
    """One token a character; it puts BEGIN before and END behind every text where asked."""
    vocabulary = {token: index for index, token in enumerate([END, BEGIN, "<unk>", *CHARACTERS])}
    vocabulary |= {f"spare{n}": len(vocabulary) + n for n in range(spare)}
    inner = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = Split(Regex(r"[\s\S]"), "isolated")
    inner.decoder = Fuse()
    inner.add_special_tokens([END, BEGIN])
    if begins or ends:
        single = (f"{BEGIN} " if begins else "") + "$A" + (f" {END}" if ends else "")
        special = [(END, vocabulary[END]), (BEGIN, vocabulary[BEGIN])]
        inner.post_processor = TemplateProcessing(single=single, special_tokens=special)
    PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token=END, bos_token=BEGIN, unk_token="<unk>"
    ).save_pretrained(folder)


TOKENS = 3 + len(CHARACTERS)


def write_model(
    folder: Path, *, vocabulary: int = TOKENS, tied: bool = True, **options: Any
) -> None:
    """A random Qwen3 of two layers."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        intermediate_size=48,
        max_position_embeddings=256,
        tie_word_embeddings=tied,
        eos_token_id=0,
        bos_token_id=None,
        pad_token_id=None,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder, **options)


def write_folder(folder: Path, **options: Any) -> Path:
    """A whole folder: model and tokenizer."""
    write_model(folder, **options)
    write_tokenizer(folder)
    return folder


def write_qwen2(folder: Path) -> Path:
    """Another family, with biases and a head of its own."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=TOKENS,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=48,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        eos_token_id=0,
        bos_token_id=None,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    write_tokenizer(folder)
    return folder
