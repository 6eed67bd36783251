"""Writes the folder of a checkpoint, so that it answers elsewhere as it was trained: in transformers 4 and 5, vLLM and here.

In: a model, its tokenizer, and how it is used (`Usage`). Out: an ordinary Hugging Face folder:

    config.json             with the record of the training template, which our own stages take from there
    generation_config.json  every end token, and the sampling of the recipe's evaluation
    chat_template.jinja     renders messages as the training template does, see `text.chat_template`
    tokenizer_config.json   with `response_template`, by which transformers splits an answer; a class that both versions know
    model.safetensors, tokenizer.json

Not here: the model card, which the pipeline writes when results are known, and the modes of files (`base.files`).

Decisions:
1. transformers 5 names a tokenizer of its own `TokenizersBackend`, which version 4 does not know; the older name
   `PreTrainedTokenizerFast` means the same in both. Further special tokens are a list in 5 and a table in 4; under
   `additional_special_tokens` they are a list in both.
2. transformers 4 reads `rope_theta` and `rope_scaling`, 5 reads `rope_parameters`. Both are written: without the first, 4
   would take its default for the base of the rotation, without a word.
3. Under `template = "chat"` the model's own chat template stays as it is.
"""

import json
from collections.abc import Callable, Collection
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from dianoia.text.chat_template import anchor_of, chat_template, response_template
from dianoia.text.prompts import added_prefix
from dianoia.text.template import TEMPLATE_RECORD, Template

_CHAT_TEMPLATE = "chat_template.jinja"
_MACHINE_KEYS = ("is_local", "local_files_only", "backend")
"""Entries of transformers 5 about how the tokenizer was loaded."""


@dataclass(frozen=True, slots=True)
class Draw:
    """How tokens are drawn when nobody says otherwise. The defaults are those of the paper's evaluation (D.1)."""

    temperature: float = 0.6
    top_p: float = 0.95
    top_k: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """How a checkpoint is asked and sampled."""

    template: Template
    """The template of its prompts."""
    stop_ids: Collection[int]
    """Every token that ends an answer."""
    draw: Draw = Draw()
    keep_thoughts: bool = False
    """Earlier answers of a conversation keep their thoughts."""
    is_trained: bool = True
    """The model was trained under the template, which is recorded; False for a base model."""


def save_checkpoint(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, usage: Usage
) -> None:
    """Write the folder of a causal language model. Model and tokenizer themselves do not change."""
    model.save_pretrained(folder)
    _write_generation(folder, model, usage)
    record = usage.template.record() if usage.is_trained else None
    finish_config(folder, {TEMPLATE_RECORD: record})
    save_tokenizer(folder, tokenizer)
    if not usage.template.chat:
        _write_chat_template(folder, tokenizer, usage)


def save_tokenizer(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write a tokenizer that transformers 4 and 5 load (decision 1)."""
    tokenizer.save_pretrained(folder)

    def change(config: dict[str, Any]) -> None:
        for key in _MACHINE_KEYS:
            config.pop(key, None)
        if config.get("tokenizer_class") == "TokenizersBackend":
            config["tokenizer_class"] = "PreTrainedTokenizerFast"
        if isinstance(config.get("extra_special_tokens"), list):
            config["additional_special_tokens"] = config.pop("extra_special_tokens")

    _edit(folder / "tokenizer_config.json", change)


def drop_chat_template(folder: Path) -> None:
    """Remove the chat template of a folder and the rules by which answers are split."""
    (folder / _CHAT_TEMPLATE).unlink(missing_ok=True)

    def change(config: dict[str, Any]) -> None:
        config.pop("chat_template", None)
        config.pop("response_template", None)

    _edit(folder / "tokenizer_config.json", change)


def finish_config(folder: Path, entries: dict[str, Any]) -> None:
    """Add entries of ours to `config.json`, None removes one; and what transformers 4 needs (decision 2)."""

    def change(config: dict[str, Any]) -> None:
        # A multimodal model keeps its language model in `text_config`.
        for part in (config, config.get("text_config") or {}):
            rope = part.get("rope_parameters")
            # A table per kind of layer has no name in version 4.
            if isinstance(rope, dict) and "rope_theta" in rope:
                part.setdefault("rope_theta", rope["rope_theta"])
                if rope.get("rope_type", "default") != "default":
                    scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
                    part.setdefault("rope_scaling", scaling)
        for key, value in entries.items():
            config.pop(key, None)
            if value is not None:
                config[key] = value

    _edit(folder / "config.json", change)


def _edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(file.read_text(encoding="utf-8"))
    change(value)
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")


def _write_generation(folder: Path, model: PreTrainedModel, usage: Usage) -> None:
    generation = deepcopy(model.generation_config) or GenerationConfig()  # type: ignore[no-untyped-call]
    ids = sorted(usage.stop_ids)
    generation.eos_token_id = ids if len(ids) > 1 else ids[0]
    # Without an explicit 0 transformers keeps the 50 likeliest tokens.
    draw = usage.draw
    sampling = {"temperature": draw.temperature, "top_p": draw.top_p, "top_k": draw.top_k}
    # Greedy decoding has no parameters, and transformers refuses to write them beside it.
    is_greedy = draw.temperature == 0
    generation.do_sample = not is_greedy
    for key, value in sampling.items():
        setattr(generation, key, None if is_greedy else value)
    generation.save_pretrained(folder)
    # With this entry transformers would replace the file by entries of config.json.
    _edit(folder / "generation_config.json", lambda config: config.pop("_from_model_config", None))


def _write_chat_template(folder: Path, tokenizer: PreTrainedTokenizerBase, usage: Usage) -> None:
    template = usage.template

    def text(ids: list[int]) -> str:
        # Special tokens stay in, and blanks of a token at the beginning of a text too.
        options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
        return "".join(str(tokenizer.decode([token], **options)) for token in ids)

    end = tokenizer.eos_token or text([min(usage.stop_ids)])
    prefix = text(added_prefix(tokenizer))
    jinja = chat_template(template, prefix, str(end), usage.keep_thoughts)
    (folder / _CHAT_TEMPLATE).write_text(jinja, encoding="utf-8")
    ends = {text([token]) for token in usage.stop_ids}
    spec = response_template(
        template.tags, template.final, anchor_of(template), template.opens_thought, ends
    )

    def change(config: dict[str, Any]) -> None:
        config.pop("chat_template", None)
        config["response_template"] = spec

    _edit(folder / "tokenizer_config.json", change)
