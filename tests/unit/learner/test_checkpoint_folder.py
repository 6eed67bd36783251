"""The folder of a checkpoint answers as the model was trained, with the libraries that others load it with."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen3ForCausalLM,
    TextGenerationPipeline,
)

from dianoia.base.errors import ModelError
from dianoia.base.records import Turn
from dianoia.config import TemplateSettings
from dianoia.learner.checkpoint_folder import Draw, Usage, save_checkpoint
from dianoia.learner.reward_model_folder import (
    Outlook,
    load_reward_model,
    outlook_of,
    save_reward_model,
    start_reward_model,
)
from dianoia.models.loading import load_model, load_tokenizer
from dianoia.sampler.rollouts import stop_ids
from dianoia.text.prompts import Prompts
from dianoia.text.template import (
    TEMPLATE_RECORD,
    TEMPLATES,
    Template,
    checkpoint_template,
    template_of,
)

TEXTS = [template for template in TEMPLATES.values() if not template.chat]
OWN = template_of(
    "own", {"own": TemplateSettings(prompt="Q: {question}\nA:", tags=["<think>", "</think>"])}
)
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "2+3?"},
    {"role": "assistant", "content": "5", "reasoning_content": "two and three"},
    {"role": "user", "content": "And 2+4?"},
]
TURNS = (
    Turn("system", "Be brief."),
    Turn("user", "2+3?"),
    Turn("assistant", "5", "two and three"),
    Turn("user", "And 2+4?"),
)


def config_of(folder: Path, name: str = "config.json") -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return value


def saved(source: Path, target: Path, usage: Usage) -> Path:
    model, tokenizer = load_model(source), load_tokenizer(source)
    save_checkpoint(target, model, tokenizer, usage)
    return target


@pytest.mark.parametrize("template", [*TEXTS, OWN], ids=lambda t: t.name)
def test_messages_get_the_ids_of_training(folder: Path, tmp_path: Path, template: Template) -> None:
    saved(folder, tmp_path / "c", Usage(template, {0}))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "c")
    ids = tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True)["input_ids"]
    assert (tuple(ids),) == tuple(Prompts(tokenizer, template)([TURNS]))
    assert checkpoint_template("c", config_of(tmp_path / "c")) == template


def test_a_begin_token_stands_before_the_prompt_once(folder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(folder)
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    inner = tokenizer.backend_tokenizer
    inner.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
    )
    bos = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token=tokenizer.eos_token, bos_token="<s>"
    )
    model = load_model(folder)
    model.resize_token_embeddings(len(bos))
    save_checkpoint(tmp_path / "c", model, bos, Usage(TEMPLATES["r1"], {0}))
    again = AutoTokenizer.from_pretrained(tmp_path / "c")
    ids = again.apply_chat_template(MESSAGES, add_generation_prompt=True)["input_ids"]
    assert ids[0] == again.bos_token_id and ids.count(again.bos_token_id) == 1
    assert (tuple(ids),) == tuple(Prompts(again, TEMPLATES["r1"])([TURNS]))


def test_all_end_tokens_and_the_sampling_are_written(folder: Path, tmp_path: Path) -> None:
    draw = Draw(temperature=0.7, top_p=0.9, top_k=20)
    saved(folder, tmp_path / "c", Usage(TEMPLATES["r1"], {0, 5, 3}, draw))
    generation = GenerationConfig.from_pretrained(tmp_path / "c")
    assert generation.eos_token_id == [0, 3, 5] and generation.do_sample
    assert (generation.temperature, generation.top_p, generation.top_k) == (0.7, 0.9, 20)
    model, tokenizer = load_model(tmp_path / "c"), load_tokenizer(tmp_path / "c")
    assert stop_ids(model, tokenizer) == {0, 3, 5}
    # The paper's evaluation; without the 0 transformers would keep 50 tokens.
    saved(folder, tmp_path / "d", Usage(TEMPLATES["r1"], {0}))
    generation = GenerationConfig.from_pretrained(tmp_path / "d")
    assert (generation.temperature, generation.top_p, generation.top_k) == (0.6, 0.95, 0)
    saved(tmp_path / "c", tmp_path / "greedy", Usage(TEMPLATES["r1"], {0}, Draw(temperature=0)))
    generation = GenerationConfig.from_pretrained(tmp_path / "greedy")
    assert not generation.do_sample and generation.temperature is None


def test_a_pipeline_answers_messages_with_a_thought(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(folder, tmp_path / "c", Usage(TEMPLATES["r1-zero"], {0}))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "c")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "c")
    prompts: list[list[int]] = []

    def generate(self: object, input_ids: torch.Tensor, **_options: object) -> torch.Tensor:
        """Stand in for a model that has learnt to answer."""
        prompts.append(input_ids[0].tolist())
        text = " <think>\nsix\n</think>\n<answer>6</answer>" + tokenizer.eos_token
        answer = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        return torch.cat([input_ids, answer], 1)

    monkeypatch.setattr(Qwen3ForCausalLM, "generate", generate)
    pipeline = TextGenerationPipeline(model=model, tokenizer=tokenizer)
    (record,) = pipeline(MESSAGES)
    assert record["generated_text"][-1] == {
        "role": "assistant",
        "reasoning_content": "six",
        "content": "6",
    }
    assert [tuple(ids) for ids in prompts] == Prompts(tokenizer, TEMPLATES["r1-zero"])([TURNS])


def test_names_that_transformers_4_knows(folder: Path, tmp_path: Path) -> None:
    """A tokenizer class, further special tokens as a list, and the base of the rotation; tried with 4.57."""
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|x|>"]})
    model.resize_token_embeddings(len(tokenizer))
    model.config.rope_parameters = {"rope_theta": 500_000.0, "rope_type": "linear", "factor": 2.0}
    save_checkpoint(tmp_path / "c", model, tokenizer, Usage(TEMPLATES["r1"], {0}))
    written = config_of(tmp_path / "c", "tokenizer_config.json")
    assert written["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert written["additional_special_tokens"] == ["<|x|>"]
    assert "extra_special_tokens" not in written and "is_local" not in written
    config = config_of(tmp_path / "c")
    assert config["rope_theta"] == 500_000.0
    assert config["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}
    again = load_model(tmp_path / "c")
    assert again.config.rope_parameters == model.config.rope_parameters
    assert "<|x|>" in load_tokenizer(tmp_path / "c").all_special_tokens


def test_saving_changes_neither_model_nor_tokenizer(folder: Path, tmp_path: Path) -> None:
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    before = model.config.to_dict(), model.generation_config.to_dict(), tokenizer.chat_template
    save_checkpoint(tmp_path / "c", model, tokenizer, Usage(TEMPLATES["r1"], {0, 4}))
    after = model.config.to_dict(), model.generation_config.to_dict(), tokenizer.chat_template
    assert before == after


def test_the_last_template_is_recorded_and_a_base_records_none(
    folder: Path, tmp_path: Path
) -> None:
    saved(folder, tmp_path / "a", Usage(TEMPLATES["r1"], {0}))
    saved(tmp_path / "a", tmp_path / "b", Usage(TEMPLATES["plain"], {0}))
    saved(tmp_path / "b", tmp_path / "c", Usage(TEMPLATES["r1-zero"], {0}, is_trained=False))
    records = [config_of(tmp_path / name).get(TEMPLATE_RECORD) for name in "abc"]
    assert records == ["r1", "plain", None]
    tokenizer = load_tokenizer(tmp_path / "b")
    text = tokenizer.apply_chat_template(MESSAGES[1:2], tokenize=False, add_generation_prompt=True)
    assert text == "2+3?\n"
    # Without tags all of an answer is content, and transformers guesses nothing from the kind of model.
    parsed = tokenizer.parse_response("<b>5</b>\n", prefix=text)
    assert parsed == {"role": "assistant", "content": "<b>5</b>"}


def test_a_template_of_the_models_own_stays(folder: Path, tmp_path: Path) -> None:
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}"
    save_checkpoint(tmp_path / "c", model, tokenizer, Usage(TEMPLATES["chat"], {0}))
    assert load_tokenizer(tmp_path / "c").chat_template == tokenizer.chat_template


@pytest.mark.parametrize("name", ["r1", "chat"])
def test_a_reward_model_does_not_keep_the_chat_template_of_a_policy(
    folder: Path, tmp_path: Path, name: str
) -> None:
    saved(folder, tmp_path / "policy", Usage(TEMPLATES["r1"], {0}))
    model, tokenizer = (
        start_reward_model(tmp_path / "policy", 0),
        load_tokenizer(tmp_path / "policy"),
    )
    save_reward_model(tmp_path / "scorer", model, tokenizer, Outlook(TEMPLATES[name], "answer"))
    again = load_tokenizer(tmp_path / "scorer")
    # Under `chat` it is what the model was trained with.
    assert (again.chat_template is None) == (again.response_template is None) == (name == "r1")
    assert TEMPLATE_RECORD not in config_of(tmp_path / "scorer")
    scorer = load_reward_model(tmp_path / "scorer")
    assert outlook_of(scorer) == Outlook(TEMPLATES[name], "answer")


def test_a_record_that_no_stage_writes_is_refused() -> None:
    with pytest.raises(ModelError, match="trained with dianoia_template = r2"):
        checkpoint_template("x", {TEMPLATE_RECORD: "r2"})
    assert checkpoint_template("x", {}) is None
