"""How large the models of a recipe are: parameters, and what a token costs in cache and activations. No torch.

In: `config.json`s, of folders, shipped models or the hub (`models.hub_config`). Out: `Size`. Dense decoders with gated
feed-forward layers; another architecture gets the same formula, and so a rough number.
"""

from dataclasses import dataclass, replace
from typing import Any

from dianoia.config import DemonstrationsStage, ModelShape, PretrainStage
from dianoia.models.hub_config import model_config, text_config
from dianoia.recipe.graph import Recipe, reward_models, sources


@dataclass(frozen=True, slots=True)
class Size:
    """What the arithmetic needs of a model."""

    parameters: int
    cache_per_token: int
    """Numbers in the key-value cache a token."""
    name: str
    layers: int = 0
    hidden: int = 0
    queries: int = 0
    """Numbers of a token's queries, all heads together."""
    keys: int = 0
    """Numbers of a token's keys, all heads together; its values are as many."""
    inner: int = 0
    vocabulary: int = 0
    tied: bool = True
    """Whether the head over the vocabulary is the table of embeddings."""
    normed: bool = False
    """Whether queries and keys are normalised, as in Qwen3."""

    @property
    def table(self) -> int:
        """Numbers of the embeddings."""
        return self.vocabulary * self.hidden

    @property
    def backbone(self) -> int:
        """Parameters without a head of their own."""
        return self.parameters - (0 if self.tied else self.table)

    @property
    def matrices(self) -> int:
        """Parameters of the layers."""
        return self.backbone - self.table

    def operations(self, context: float) -> float:
        """Of a forward pass, a token, behind `context` others: two a parameter that multiplies, and attention."""
        attention = 4 * self.queries * context * self.layers
        return 2 * (self.matrices + self.table) + attention


def size_of(name: str, recipe: Recipe) -> Size:
    """The size of the model a stage works on; of the largest one that it evaluates."""
    stage = recipe.stages[name]
    if isinstance(stage, PretrainStage):
        return size(_as_config(stage.model, stage.vocabulary), name)
    if isinstance(stage, DemonstrationsStage):
        return Size(0, 0, "no model")
    found = [
        size_of(source, recipe)
        if source in recipe.stages
        else size(text_config(model_config(f"stages.{name}", source)), source)
        for source in sources(stage)
    ]
    return max(found, key=lambda size: size.parameters)


def judge_sizes(name: str, recipe: Recipe) -> dict[str, Size]:
    """Sizes of the reward models that a stage reads, by the key that names them; a head is too small to count."""
    return {
        key: replace(size_of(source, recipe), name=source)
        if source in recipe.stages
        else size(text_config(model_config(f"stages.{name}", source)), source)
        for key, source in reward_models(recipe.stages[name]).items()
    }


def _as_config(shape: ModelShape, vocabulary: int) -> dict[str, Any]:
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


def size(config: dict[str, Any], name: str) -> Size:
    """By the formula of a dense decoder; norms and biases are too small to count."""
    hidden, layers = config.get("hidden_size", 0), config.get("num_hidden_layers", 0)
    heads = config.get("num_attention_heads", 1)
    kv_heads = config.get("num_key_value_heads") or heads
    head = config.get("head_dim") or hidden // heads
    inner, vocabulary = config.get("intermediate_size", 4 * hidden), config.get("vocab_size", 0)
    tied = bool(config.get("tie_word_embeddings"))
    layer = 2 * hidden * head * (heads + kv_heads) + 3 * hidden * inner
    return Size(
        parameters=layers * layer + (1 if tied else 2) * hidden * vocabulary,
        cache_per_token=2 * layers * kv_heads * head,
        name=name,
        layers=layers,
        hidden=hidden,
        queries=heads * head,
        keys=kv_heads * head,
        inner=inner,
        vocabulary=vocabulary,
        tied=tied,
        normed=config.get("model_type") == "qwen3",
    )
