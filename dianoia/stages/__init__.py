"""The stages of the paper, one module with `run(config, context)` each. They do not know one another.

`context` is what a stage gets: its folder, its seed, and the sampler, judge and learner that it asks for. `_shared` is what
several stages do alike. Not here: when a stage runs and what it starts from (`pipeline`).
"""
