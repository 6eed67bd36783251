"""Exchange a model's attention for the time of one pass, and prove that the pass computes the same.

In: a transformers model, and an attention function that knows its own layout of positions. Out: passes in which
transformers' `AttentionInterface` calls that function. The layouts are `packed_rows`, `prompt_sharing` and
`shared_prefixes`. Everything in a decoder but attention treats positions one by one, so a model may run on positions laid
end to end as it is, as long as attention knows the layout.

Left out: layers that mix positions in any other way than attention over everything before (sliding windows, recurrent
states, encoders). `has_plain_attention` tells them apart by what they say, `agrees` by what they compute.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PretrainedConfig, PreTrainedModel

from dianoia.learner.batching.attention_spans import AttentionSpans
from dianoia.learner.kernels.layers_cpu import attend_in_c, attends_in_c

REFUSED_ARGUMENTS = ("sliding_window", "softcap", "s_aux", "position_bias", "chunk_size", "cache")
"""Arguments of attention functions that ask for more than causal attention over everything."""


class OtherAttentionError(ValueError):
    """The architecture wants an attention that is not plain and causal over everything."""


class Layout(Protocol):
    """Positions end to end in one row."""

    @property
    def spans(self) -> AttentionSpans | None:
        """Which positions attend to which, for the C functions; None where they do not run."""
        ...


L_contra = TypeVar("L_contra", bound=Layout, contravariant=True)
Attend = Callable[[Tensor, Tensor, Tensor, L_contra, float | None], Tensor]
"""(queries, keys, values `_1HND`, layout, scaling) -> attention output `_1NHD`"""


def register(name: str, attend: Attend[Any]) -> None:
    """Make `attend` known to transformers under `name`, for passes that hand their layout to the model as `name`.

    On a CPU with the C functions they run instead: one function serves all layouts.
    """

    def attention(
        module: nn.Module,
        query_1HND: Tensor,
        key_1HND: Tensor,
        value_1HND: Tensor,
        attention_mask: Tensor | None,
        *,
        scaling: float | None = None,
        dropout: float = 0.0,
        **arguments: Any,
    ) -> tuple[Tensor, None]:
        """Attend as transformers' attention functions do. Raises OtherAttentionError for what a layout is not for."""
        layout: Layout | None = arguments.pop(name, None)
        refused = [key for key in REFUSED_ARGUMENTS if arguments.get(key) is not None]
        if layout is None or attention_mask is not None or dropout or refused:
            raise OtherAttentionError(f"no attention over rows end to end with {refused}")
        # C functions need no mask and no padding, so they come first.
        states = (query_1HND, key_1HND, value_1HND)
        if layout.spans is not None and attends_in_c(*states):
            return attend_in_c(*states, layout.spans, scaling), None
        return attend(*states, layout, scaling), None

    AttentionInterface.register(name, attention)


def run_with_attention(
    part: nn.Module, model: PreTrainedModel, name: str, layout: Layout, **inputs: Tensor
) -> Any:
    """Run `part` of `model` on `inputs` with the attention function registered as `name`."""
    with attention_named(model.config.get_text_config(), name):
        return part(**inputs, use_cache=False, **{name: layout})


@contextmanager
def attention_named(config: PretrainedConfig, name: str | None) -> Iterator[None]:
    """Let the layers that share `config` use the attention function `name`, which they look up in every pass."""
    # All layers of a model share this configuration; replicas have copies of their own.
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


def sdpa(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scaling: float | None
) -> Tensor:
    """Return the attention output; causal without a mask, where right padding is attended to by padding alone."""
    groups = query.shape[1] // keys.shape[1]
    native = groups > 1 and (mask is None or query.device.type == "cpu")
    if groups > 1 and not native:  # CUDA has no fast kernel for fewer key heads under a mask
        keys, values = (states.repeat_interleave(groups, dim=1) for states in (keys, values))
    output: Tensor = scaled_dot_product_attention(
        query,
        keys,
        values,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=native,
    )
    return output


# Whether a layout is exact ------------------------------------------------------------------------


def has_plain_attention(model: PreTrainedModel) -> bool:
    """Return True if every layer says that it attends to all earlier positions, by an exchangeable function."""
    config = model.config.get_text_config()
    types = set(getattr(config, "layer_types", None) or ["full_attention"])
    windowed = getattr(config, "sliding_window", None) and not hasattr(config, "layer_types")
    return types == {"full_attention"} and not windowed and bool(model._supports_attention_backend)


@torch.no_grad()
def agrees(
    model: PreTrainedModel,
    compute: Callable[[], Tensor],
    expected: Callable[[], Tensor],
    products: torch.dtype | None = None,
) -> bool:
    """Return True if two ways to run a few tokens give the same hidden states up to rounding.

    `products`: dtype of the factors of matrix products, where it is not that of the hidden states; they round as it does. What a configuration says is looked up first; since that is never complete, both ways are run.
    """
    if not has_plain_attention(model):
        return False
    try:
        states = compute().float()
    except (OtherAttentionError, TypeError):  # or a forward without room for further arguments
        return False
    reference = expected()
    # Half of the digits of the dtype: far above rounding, far below another attention.
    eps = max(torch.finfo(dtype).eps for dtype in (reference.dtype, products or reference.dtype))
    tolerance = eps**0.5 * reference.float().abs().max()
    return bool((states - reference.float()).abs().max() <= tolerance)


def random_ids(model: PreTrainedModel, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` random tokens of the model's vocabulary, on the CPU."""
    size: int = model.config.get_text_config().vocab_size
    return torch.randint(size, (count,), generator=generator)


def product_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype in which products with `x` run here and now, autocast included."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
