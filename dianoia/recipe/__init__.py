"""Recipes: the paper's graph of stages as a TOML file, checked before any work begins."""

from dianoia.recipe.load import load_recipe
from dianoia.recipe.model import Recipe, Stage

__all__ = ["Recipe", "Stage", "load_recipe"]
