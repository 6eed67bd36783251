"""Compares the tensors of a folder with those that its configuration needs, by name and shape. Needs no torch.

In: a `config.json` and the headers of the weight files. Out: nothing, or a `ModelError` with the tensors' names.
Only the families of the native sampler are covered; other models are checked when they are loaded. Names are those
of transformers; a folder with only a backbone omits the prefix `model.`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from dianoia.base.errors import ModelError
from dianoia.models.folder_check import Config, Tensor, listed

FAMILIES = ("llama", "qwen2", "qwen3")
"""Model types whose layers the native sampler and the fused layers of a learner implement."""
_HEADS = ("lm_head.weight", "score.weight")
_COMPUTED = "rotary_emb.inv_freq"
"""A tensor in old folders that is not needed: it is computed from the configuration."""

Shapes = dict[str, tuple[int, ...]]
Head = Literal["vocabulary", "score", "any"]
"""The head of a model: logits ("vocabulary"), a reward ("score"), or any, because it will be replaced."""


def expected_shapes(config: Config) -> Shapes | None:
    """Return the shape of every tensor except the head's; None for another family, or a quantised model.

    Raises KeyError, TypeError or ValueError for a configuration without the sizes.
    """
    # Quantised weights have other names and shapes.
    family = config.get("model_type")
    if family not in FAMILIES or config.get("quantization_config"):
        return None
    hidden, inner, heads = (
        _size(config, key) for key in ("hidden_size", "intermediate_size", "num_attention_heads")
    )
    # The defaults are those of transformers' configuration classes.
    kv_heads = _size(config, "num_key_value_heads", heads if family == "llama" else 32)
    head = _size(config, "head_dim", 128 if family == "qwen3" else hidden // heads)
    queries, keys = heads * head, kv_heads * head
    bias = bool(config.get("attention_bias"))
    # PyTorch's order: (output, input).
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
    # Qwen2 always has biases on queries, keys and values, and never on the output.
    if bias or family == "qwen2":
        shapes |= {"self_attn.q_proj.bias": (queries,)}
        shapes |= {f"self_attn.{name}_proj.bias": (keys,) for name in "kv"}
    if bias and family != "qwen2":
        shapes["self_attn.o_proj.bias"] = (hidden,)
    # Only Llama's configuration knows this key.
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
    """Raise ModelError if the tensors of a folder are not those that its configuration needs."""
    try:
        required = expected_shapes(config)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            f"{folder / 'config.json'}: it does not give the sizes of the model ({error}); fetch the file again"
        ) from None
    if required is None:
        return
    is_backbone = not any(name.startswith("model.") for name in tensors)
    present = {
        f"model.{name}" if is_backbone and name not in _HEADS else name: tensor.shape
        for name, tensor in tensors.items()
        if not name.endswith(_COMPUTED)
    }
    embedding, width = required["model.embed_tokens.weight"], required["model.norm.weight"][0]
    # `heads` may be there; which of them must be there depends on the kind of head.
    heads: Shapes = {"lm_head.weight": embedding}
    # A reward model has a `score` head with one output.
    if head != "vocabulary":
        heads["score.weight"] = (1, width)
    if head == "score":
        required["score.weight"] = (1, width)
    # With tied embeddings the output head is the embedding and may be missing.
    elif head == "vocabulary" and not config.get("tie_word_embeddings"):
        required |= heads
    missing = [name for name in required if name not in present]
    _refuse(folder, missing, "lack", "would be initialized at random")
    allowed = required | heads
    superfluous = [name for name in present if name not in allowed]
    _refuse(folder, superfluous, "hold", "no model with this config has")
    for name, shape in present.items():
        if shape != allowed[name]:
            raise ModelError(
                f"{folder}: the tensor {name} has the shape {list(shape)}, but config.json requires "
                f"{list(allowed[name])}; the two belong to different models, so fetch both again"
            )


def _refuse(folder: Path, names: list[str], verb: str, consequence: str) -> None:
    if names:
        raise ModelError(
            f"{folder}: the weights {verb} the tensors {listed(names)}, which {consequence}; the files are damaged or "
            "belong to another config.json, so fetch the folder again"
        )
