"""Sizes of the models of a recipe: parameters, and what the estimates of memory and time need. No torch.

In: `config.json`s of folders, shipped models or the hub (`models.hub_config`). Out: `Size`. The formula is that of dense
decoders with gated feed-forward layers; for another architecture it gives a rough number.
"""

from dataclasses import dataclass, replace
from typing import Any

from dianoia.config import DemonstrationsStage, ModelShape, PretrainStage
from dianoia.models.hub_config import model_config, text_config
from dianoia.recipe.graph import Recipe, reward_models, sources


@dataclass(frozen=True, slots=True)
class Size:
    """Dimensions of a model."""

    parameters: int
    cache_per_token: int
    """Numbers in the KV cache per token."""
    name: str
    layers: int = 0
    hidden: int = 0
    query_width: int = 0
    """Numbers of a token's queries, over all heads."""
    key_width: int = 0
    """Numbers of a token's keys, over all heads; its values have as many."""
    intermediate: int = 0
    vocabulary: int = 0
    tied: bool = True
    """Whether the output head shares the weights of the embedding."""
    qk_norm: bool = False
    """Whether queries and keys are normalised, as in Qwen3."""

    @property
    def embedding(self) -> int:
        """Parameters of the embedding."""
        return self.vocabulary * self.hidden

    @property
    def backbone(self) -> int:
        """Parameters without an untied head."""
        return self.parameters - (0 if self.tied else self.embedding)

    @property
    def layer_parameters(self) -> int:
        """Parameters of all layers."""
        return self.backbone - self.embedding

    def layer_flops(self, context: float) -> float:
        """Return the operations of the layers in a forward pass per token that attends to `context` others.

        Two per parameter, plus attention. The head has two more per number of the embedding.
        """
        return 2 * self.layer_parameters + 4 * self.query_width * context * self.layers


def size_of(name: str, recipe: Recipe) -> Size:
    """Return the size of the model that a stage works on; of the largest if it evaluates several."""
    stage = recipe.stages[name]
    if isinstance(stage, PretrainStage):
        return size_from_config(_as_config(stage.model, stage.vocabulary), name)
    if isinstance(stage, DemonstrationsStage):
        return Size(0, 0, "no model")
    # The model of a stage that starts from an earlier one has that stage's size, back to the first.
    sizes = [_source_size(name, source, recipe) for source in sources(stage)]
    return max(sizes, key=lambda size: size.parameters)


def reward_model_sizes(name: str, recipe: Recipe) -> dict[str, Size]:
    """Return the sizes of the reward models that a stage reads, by their part of the reward; heads do not count."""
    return {
        part: replace(_source_size(name, source, recipe), name=source)
        for part, source in reward_models(recipe.stages[name]).items()
    }


def _source_size(name: str, source: str, recipe: Recipe) -> Size:
    if source in recipe.stages:
        return size_of(source, recipe)
    # A multimodal model has its language model in a nested configuration.
    return size_from_config(text_config(model_config(f"stages.{name}", source)), source)


def _as_config(shape: ModelShape, vocabulary: int) -> dict[str, Any]:
    """Return the `config.json` of a model that a pretrain stage builds."""
    return {
        "model_type": "qwen3",
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "intermediate_size": shape.intermediate_size,
        "vocab_size": vocabulary,
        "tie_word_embeddings": True,
    }


def size_from_config(config: dict[str, Any], name: str) -> Size:
    """Return the size of a dense decoder; norms and biases are too small to count."""
    # Keys of Llama, Qwen and Mistral; others (GPT-2's n_embd, for example) are missing and count as 0.
    hidden, layers = config.get("hidden_size", 0), config.get("num_hidden_layers", 0)
    heads = config.get("num_attention_heads", 1)
    kv_heads = config.get("num_key_value_heads") or heads
    # Stated where it is another one: Qwen3-0.6B has heads of 128 at a width of 64 per head.
    head_dim = config.get("head_dim") or hidden // heads
    intermediate = config.get("intermediate_size", 4 * hidden)
    vocabulary = config.get("vocab_size", 0)
    tied = bool(config.get("tie_word_embeddings"))
    # query, key, value and output projections, then gate, up and down projections
    layer = 2 * hidden * head_dim * (heads + kv_heads) + 3 * hidden * intermediate
    return Size(
        parameters=layers * layer + (1 if tied else 2) * hidden * vocabulary,
        cache_per_token=2 * layers * kv_heads * head_dim,
        name=name,
        layers=layers,
        hidden=hidden,
        query_width=heads * head_dim,
        key_width=kv_heads * head_dim,
        intermediate=intermediate,
        vocabulary=vocabulary,
        tied=tied,
        # By the type: no key of a configuration says it.
        qk_norm=config.get("model_type") == "qwen3",
    )
