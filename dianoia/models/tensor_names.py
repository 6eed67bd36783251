"""The tensors that a configuration asks for, by name and shape, and how those of a folder differ. No torch.

In: a `config.json` and what the headers of the weights say. Out: nothing, or a `ModelError` with the tensors' names.
Known are the families that the native sampler knows; of others the check is made when the model is loaded. Names are
those of transformers; a folder that holds a backbone alone leaves `model.` out.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from dianoia.base.errors import ModelError
from dianoia.models.folder_check import Config, Tensor, named

FAMILIES = ("llama", "qwen2", "qwen3")
_HEADS = ("lm_head.weight", "score.weight")
_COMPUTED = "rotary_emb.inv_freq"
"""Old folders hold it; it is computed from the configuration."""

Shapes = dict[str, tuple[int, ...]]
Head = Literal["vocabulary", "score", "any"]
"""What a model gives: logits, a reward, or either because its head will be drawn anew."""


def expected(config: Config) -> Shapes | None:
    """Shape of every tensor but the head's; None for a configuration of another family, or a quantised one.

    Raises KeyError, TypeError or ValueError for a configuration without the sizes.
    """
    family = config.get("model_type")
    if family not in FAMILIES or config.get("quantization_config"):
        return None
    hidden, inner, heads = (
        _size(config, key) for key in ("hidden_size", "intermediate_size", "num_attention_heads")
    )
    kv_heads = _size(config, "num_key_value_heads", heads if family == "llama" else 32)
    head = _size(config, "head_dim", 128 if family == "qwen3" else hidden // heads)
    queries, keys = heads * head, kv_heads * head
    bias = bool(config.get("attention_bias"))
    shapes: Shapes = {
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
        "self_attn.q_proj.weight": (queries, hidden),
        "self_attn.k_proj.weight": (keys, hidden),
        "self_attn.v_proj.weight": (keys, hidden),
        "self_attn.o_proj.weight": (hidden, queries),
        "mlp.gate_proj.weight": (inner, hidden),
        "mlp.up_proj.weight": (inner, hidden),
        "mlp.down_proj.weight": (hidden, inner),
    }
    if family == "qwen3":
        shapes |= {f"self_attn.{name}_norm.weight": (head,) for name in "qk"}
    if bias or family == "qwen2":
        shapes |= {"self_attn.q_proj.bias": (queries,)}
        shapes |= {f"self_attn.{name}_proj.bias": (keys,) for name in "kv"}
    if bias and family != "qwen2":
        shapes["self_attn.o_proj.bias"] = (hidden,)
    if config.get("mlp_bias") and family == "llama":
        shapes |= {f"mlp.{name}_proj.bias": (inner,) for name in ("gate", "up")}
        shapes["mlp.down_proj.bias"] = (hidden,)
    layers = {
        f"model.layers.{index}.{name}": shape
        for index in range(_size(config, "num_hidden_layers"))
        for name, shape in shapes.items()
    }
    table = (_size(config, "vocab_size"), hidden)
    return {"model.embed_tokens.weight": table, "model.norm.weight": (hidden,), **layers}


def _size(config: Config, key: str, default: int | None = None) -> int:
    value: Any = config.get(key)
    if value is None:
        value = config[key] if default is None else default
    if type(value) is not int or not 0 < value < 2**31:
        raise ValueError(f"{key} = {value!r} is no size")
    return value


def check_tensors(folder: Path, config: Config, tensors: Mapping[str, Tensor], head: Head) -> None:
    """Raise ModelError where the tensors of a folder are not those that its configuration asks for."""
    try:
        wanted = expected(config)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            f"{folder / 'config.json'}: it does not say how large the model is ({error}); fetch the file again"
        ) from None
    if wanted is None:
        return
    bare = not any(name.startswith("model.") for name in tensors)
    present = {
        f"model.{name}" if bare and name not in _HEADS else name: tensor.shape
        for name, tensor in tensors.items()
        if not name.endswith(_COMPUTED)
    }
    table, width = wanted["model.embed_tokens.weight"], wanted["model.norm.weight"][0]
    heads: Shapes = {"lm_head.weight": table}
    if head != "vocabulary":
        heads["score.weight"] = (1, width)
    if head == "score":
        wanted["score.weight"] = (1, width)
    elif head == "vocabulary" and not config.get("tie_word_embeddings"):
        wanted |= heads
    missing = [name for name in wanted if name not in present]
    _refuse(folder, missing, "lack", "would be drawn at random")
    every = wanted | heads
    spare = [name for name in present if name not in every]
    _refuse(folder, spare, "hold", "no model of this config has")
    for name, shape in present.items():
        if shape != every[name]:
            raise ModelError(
                f"{folder}: the tensor {name} has the shape {list(shape)}, and config.json makes it "
                f"{list(every[name])}; the two belong to different models, so fetch both again"
            )


def _refuse(folder: Path, names: list[str], verb: str, which: str) -> None:
    if names:
        raise ModelError(
            f"{folder}: the weights {verb} the tensors {named(names)}, which {which}; the files are damaged or "
            "belong to another config.json, so fetch the folder again"
        )
