"""Small tokenizers with chat templates that behave as public ones do, in our own words."""

from collections.abc import Iterator
from functools import cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CHATML = """\
{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

_DEFAULT_SYSTEM = "{%- if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou are NAME.<|im_end|>\\n' }}{% endif %}"

# Thoughts are shown behind the last question alone; an answer there always gets a pair of tags.
QWEN3 = """\
{%- set ns = namespace(last=0) %}
{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}
{%- for m in messages %}
{%- if m.role != 'assistant' %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
{%- else %}
{%- set thought = '' %}{% set answer = m.content %}
{%- if '</think>' in m.content %}
{%- set thought = m.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
{%- set answer = m.content.split('</think>')[-1].lstrip('\\n') %}
{%- endif %}
{%- if loop.index0 > ns.last and (loop.last or thought) %}
{{- '<|im_start|>assistant\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + answer + '<|im_end|>\\n' }}
{%- else %}{{ '<|im_start|>assistant\\n' + answer + '<|im_end|>\\n' }}{% endif %}
{%- endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}"""

LLAMA3 = """\
{{- bos_token }}{% for m in messages %}
{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""

# The system text stands in the last question, so that earlier prompts change as a conversation grows.
MISTRAL = """\
{%- if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set rest = messages[1:] %}
{%- else %}{% set rest = messages %}{% endif %}
{{- bos_token }}{% for m in rest %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate user and assistant') }}{% endif %}
{%- if m.role == 'user' and system is defined and loop.index0 >= rest | length - 2 + (rest | length % 2) %}
{{- '[INST] ' + system + '\\n\\n' + m.content + '[/INST]' }}
{%- elif m.role == 'user' %}{{ '[INST] ' + m.content + '[/INST]' }}
{%- else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"""

GEMMA = """\
{{- bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for m in messages %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}
{{- '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + m.content | trim + '<end_of_turn>\\n' }}
{%- endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""

DEEPSEEK = """\
{{- bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% endif %}{% endfor %}
{%- for m in messages %}
{%- if m.role == 'user' %}{{ '<｜User｜>' + m.content }}
{%- elif m.role == 'assistant' %}{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + '<｜end▁of▁sentence｜>' }}{% endif %}
{%- endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}"""

DROPS_SYSTEM = CHATML.replace(
    "{{ '<|im_start|>' + m", "{% if m.role != 'system' %}{{ '<|im_start|>' + m"
).replace("<|im_end|>\\n' }}{% endfor", "<|im_end|>\\n' }}{% endif %}{% endfor")

STRIPS = CHATML.replace("m.content", "m.content.split('</think>')[-1].strip()")

TEMPLATES = {
    "qwen2.5": _DEFAULT_SYSTEM.replace("NAME", "Qwen") + CHATML,
    "qwen3": QWEN3,
    "llama3": LLAMA3,
    "smollm2": _DEFAULT_SYSTEM.replace("NAME", "SmolLM") + CHATML,
    "mistral": MISTRAL,
    "gemma": GEMMA,
    "deepseek-distill": DEEPSEEK,
    "chatml": CHATML,
    "drops-system": DROPS_SYSTEM,
    "strips-thoughts": STRIPS,
}
ENDS = {
    "llama3": "<|eot_id|>", "mistral": "</s>", "gemma": "<end_of_turn>", "deepseek-distill": "<｜end▁of▁sentence｜>",
}  # fmt: skip
"""The token that ends an answer; `<|im_end|>` elsewhere."""
_SPECIAL = {
    "llama3": ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "mistral": ("<s>", "</s>"),
    "gemma": ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
    "deepseek-distill": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
}  # fmt: skip
"""The token that begins a text, the one that ends it, and others; those of ChatML elsewhere, which begins with none."""


def _texts() -> Iterator[str]:
    yield from (
        "user system assistant model\n\nYou are a helpful bird. What is 2+3? It is 5. " * 20,
    )


@cache
def _trained() -> str:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        _texts(),
        trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False),
    )
    return raw.to_str()


@cache
def chat_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """The tokenizer of a template; where it has a begin token it adds that to every text, and Mistral's an end too."""
    raw = Tokenizer.from_str(_trained())
    special = _SPECIAL.get(name, ("", "<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    bos, eos = special[:2]
    raw.add_special_tokens([token for token in special if token])
    raw.add_tokens(["<think>", "</think>"])
    if bos:
        pieces = [bos, "$A", eos] if name == "mistral" else [bos, "$A"]
        ids = [(token, raw.token_to_id(token)) for token in (bos, eos)]
        raw.post_processor = processors.TemplateProcessing(
            single=" ".join(pieces), special_tokens=ids
        )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=bos or None, eos_token=eos)
    tokenizer.chat_template = TEMPLATES[name]
    tokenizer.name_or_path = name
    return tokenizer
