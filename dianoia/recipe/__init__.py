"""Recipes: the paper's graph of stages as a TOML file, checked and planned before any work begins. No torch.

`load` reads a recipe and its overrides, `graph` is the recipe and says which stage reads which, `check` looks at
everything that it reads, `plan` says what it will do and cost, `resume` decides which stages run. Running them is
`dianoia.pipeline`'s task.
"""

from dianoia.recipe.graph import Recipe, Stage
from dianoia.recipe.load import load_recipe

__all__ = ["Recipe", "Stage", "load_recipe"]
