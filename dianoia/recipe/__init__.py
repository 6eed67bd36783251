"""Recipes: the paper's graph of stages as a TOML file, checked before any work begins."""

from dianoia.recipe.graph import Recipe, Stage
from dianoia.recipe.load import load_recipe

__all__ = ["Recipe", "Stage", "load_recipe"]
