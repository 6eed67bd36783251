"""Limits on what exists in memory at one time, and on threads and jobs.

The code that computes and the plan that predicts memory both read them. They change memory and speed, never a result.
"""

CPU_TOKENS = 3072
"""Largest micro-batch on a CPU, in positions: a larger one does not fit into its cache."""
CPU_ROW_TOKENS = 1024
"""Longest packed row of supervised fine-tuning on a CPU, in tokens, for the same reason."""
LOGITS_AT_ONCE = 2**25
"""Most logits of a learner in memory at one time: 128 MiB of float32."""
GPU_LOGITS_AT_ONCE = 2**29
"""The same on a GPU: 2 GiB. Larger, since each chunk of tokens costs a pass over the gradient of the whole head."""
GPU_LOGIT_GRADIENTS_KEPT = 2**31
"""Most gradients of logits that a micro-batch on a GPU keeps for its backward pass: 4 GiB of bfloat16. For further
tokens the logits are computed a second time."""
CORE_CACHE = 2**22
"""Bytes of KV cache that a CPU core decodes over at a time; more do not fit into its cache and are read from memory at
every token. A model with twice as many bytes of weights uses every slot, since its weights are read from memory anyway."""
CORE_ROWS = 16
"""Fewest responses that a core decodes at a time: with fewer, reading the weights dominates."""
EVALUATED_AT_ONCE = 256
"""Most problems that an evaluation samples between two updates of its progress."""
EVALUATED_TOKENS = 2**20
"""Response tokens between two updates, if every sample had the most: fewer problems where responses may be long."""
MAX_THREADS = 8
"""Most threads of a stage: more slow a small model down."""
MAX_JOBS = 4
"""Most stages at the same time with `--jobs 0`: more are seldom ready at one time."""

HOST_SHARE = 0.5
"""Share of main memory beyond which the state of a model in shards is not gathered on rank 0: each rank writes its part."""
