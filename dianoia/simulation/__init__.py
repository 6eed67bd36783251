"""A model of a rollout and its updates on one or many devices: what takes how long, and what more devices would change. No torch.

`prediction.predict` takes a stage, the lengths of its responses (`lengths`), the speed of a rank (`rates`) and a cluster, draws
rollouts, decodes them in simulated time (`decoding`, `timeline`), deals them to learners (`learning`), and returns `RolloutTimes`.
`measured` reads lengths and times of a finished run. Not here: memory and what fits, which is `recipe.plan`.
"""
