"""The trainable model: one trainer for policy, critic, supervised and reward models.

`trainer` owns the model, its replicas and the optimizer; `policy`, `critic`, `supervised` and `reward_learner` hand it a
loss; `logprobs` scores response tokens. Below them: `batching` (samples to micro-batches), `attention` (layouts without
padding), `kernels` (faster layers and heads). Not here: losses and advantages (`algo`), the loop (`stages`).
"""
