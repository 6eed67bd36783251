"""Writes a recipe for a model, a problem file and a goal: `dianoia new`. No torch.

`facts` looks at model and problems, `numbers` chooses each number with its reason, `goals` puts the stages of a goal together,
`draft` is the recipe as text, `compose` fits it to a machine and checks it as `dianoia run --dry-run` does.
"""

from dianoia.recipe.new.compose import NewRecipe, compose
from dianoia.recipe.new.facts import Request

__all__ = ["NewRecipe", "Request", "compose"]
