"""How much of a batch exists at one time: read by the code that computes and by the plan that foresees memory.

They change memory and speed, never a result.
"""

CPU_TOKENS = 3072
"""Most positions of a micro-batch on a CPU: more of them fall out of its cache."""
CPU_ROW_TOKENS = 1024
"""Most tokens of a packed row of supervised fine-tuning on a CPU, for the same reason."""
LOGITS_AT_ONCE = 2**25
"""Most logits of a learner that exist at one time: 128 MiB of float32."""
GPU_LOGITS_AT_ONCE = 2**29
"""The same on a GPU, where each chunk of tokens costs a pass over the gradient of the whole head: 2 GiB."""
GPU_LOGIT_GRADIENTS_KEPT = 2**31
"""Most gradients of logits that a micro-batch on a GPU keeps for its backward pass: 4 GiB of bfloat16. Of more
tokens the logits are computed a second time."""
CORE_CACHE = 2**22
"""Bytes of keys and values that a CPU's core decodes over at a time: more of them come from memory at every token. A
model whose weights are twice as many takes every slot, since then it is weights that come from there."""
CORE_ROWS = 16
"""Responses that a core decodes at a time at least: fewer read its weights too often."""
MEMBERS = 4
"""Samples that share a prompt row of the native sampler's PyTorch: more reads a prompt's keys less often, but leaves more
places empty once samples of a group have ended."""
SPARE_ROWS = 16
"""Its prompt rows beyond one a slot, for prompts read ahead."""
EVALUATED_AT_ONCE = 256
"""Problems of an evaluation sampled between two updates of the progress line."""
MAX_THREADS = 8
"""More threads than this slow a small model down."""
MAX_JOBS = 4
"""Stages side by side where nobody says how many: more of them are seldom ready at one time."""
