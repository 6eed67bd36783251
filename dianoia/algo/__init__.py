"""The mathematics of reinforcement learning: floats and tensors in, floats and tensors out.

`advantage` and `gae` give credit, `loss` and `preference_loss` are what is minimised, `estimates` are scores of an
evaluation with their intervals. Not here: configuration, devices, files, and how samples become tensors
(`learner.batching`).
"""
