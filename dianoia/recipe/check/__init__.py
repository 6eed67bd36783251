"""Checks of a recipe before any work begins: what it reads exists and fits, and its numbers make sense. No torch.

`inputs.check_inputs` calls them all. A check returns nothing or raises an error that names the key, its value, the reason
and what to do.
"""
